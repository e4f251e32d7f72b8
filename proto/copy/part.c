/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/copy/part.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/stream.h"

#define SUFFIX ".postern-part"
#define TRIES  16 /* to get the temporary file among other copies that begin and end */

/* The same for each copy of this file, so that a later one finds it. A name that leaves no room for
 * more is told by its digest. */
static void name_temporary(struct part *part)
{
	int n = snprintf(part->temporary, sizeof(part->temporary), ".%s" SUFFIX, part->name);

	if (n >= (int)sizeof(part->temporary))
		(void)snprintf(part->temporary, sizeof(part->temporary), ".%016" PRIx64 SUFFIX,
			(uint64_t)XXH64(part->name, strlen(part->name), 0));
}

/* What an earlier copy of ours left, and nobody else can have touched. */
static bool is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid() && (st->st_mode & 07777) == 0600 &&
	       st->st_nlink == 1;
}

/* The name still leads to the file that we hold: nobody who keeps to the lock takes it away. */
static bool is_named(const struct part *part)
{
	struct stat held, named;

	return fstat(part->fd, &held) == 0 &&
	       fstatat(part->dir, part->temporary, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* The file under the temporary name, made where there is none. -ENOTUNIQ: it is not ours, and was
 * not opened, or another copy puts it into its place just now; -EAGAIN: another copy was faster; 0
 * or -errno. */
static int open_temporary(struct part *part)
{
	int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat st;

	if (fstatat(part->dir, part->temporary, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!is_ours(&st))
			return st.st_nlink == 0 ? -EAGAIN : -ENOTUNIQ;
	} else if (errno == ENOENT) {
		flags |= O_CREAT | O_EXCL;
	} else {
		return -errno;
	}
	part->fd = openat(part->dir, part->temporary, flags, 0600);
	if (part->fd >= 0)
		return 0;
	/* Another was faster; but where none can be made (/proc) there is none to come. */
	return errno == (flags & O_CREAT ? EEXIST : ENOENT) ? -EAGAIN : -errno;
}

/* Ours alone, from here to its end. A file that another copy has put into its place, or dropped,
 * between our opening and our locking it is none: -EAGAIN. 0 or -errno. */
static int lock_temporary(struct part *part)
{
	if (flock(part->fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return is_named(part) ? 0 : -EAGAIN;
}

static int take_up(struct part *part, uint64_t *ret_have)
{
	struct stat st = {0};
	int r = -EAGAIN;

	for (int i = 0; (r == -EAGAIN || r == -ENOTUNIQ) && i < TRIES; i++) {
		r = open_temporary(part);
		if (r == 0)
			r = lock_temporary(part);
		if (r == 0 && fstat(part->fd, &st) < 0)
			r = -errno;
		if (r < 0)
			part->fd = fd_close(part->fd);
	}
	if (r < 0)
		return r == -EAGAIN ? -EBUSY : r;
	*ret_have = (uint64_t)st.st_size;
	/* A file system without owners and modes: what is left would not be known again. */
	part->keep = part->keep && is_ours(&st);
	return 0;
}

int part_begin(
	struct part *part, int dir, const char *name, uint64_t size, bool keep, uint64_t *ret_have)
{
	int r;

	*ret_have = 0;
	*part = (struct part){.dir = dir, .fd = -EBADF, .size = size, .keep = keep};
	(void)snprintf(part->name, sizeof(part->name), "%s", name);
	name_temporary(part);
	copy_digest_begin(&part->digest);
	if (size > INT64_MAX)
		return -EFBIG;
	r = take_up(part, ret_have);
	if (r == 0 && (!part->keep || *ret_have > size)) {
		*ret_have = 0;
		r = ftruncate(part->fd, 0) < 0 ? -errno : 0;
		if (r < 0)
			part_end(part, false);
	}
	/* A copy that is cut before it is agreed where to go on keeps it all. */
	part->at = *ret_have;
	return r;
}

int part_digest(struct part *part, uint64_t bytes, uint8_t ret[COPY_DIGEST_SIZE])
{
	AUTO_FREE uint8_t *piece = malloc(COPY_PIECE);
	struct copy_digest digest;
	uint64_t at = 0;

	if (!piece)
		return -ENOMEM;
	copy_digest_begin(&digest);
	while (at < bytes) {
		uint64_t left = bytes - at;
		ssize_t n =
			pread(part->fd, piece, left < COPY_PIECE ? left : COPY_PIECE, (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		copy_digest_add(&digest, piece, (size_t)n);
		at += (uint64_t)n;
	}
	copy_digest_end(&digest, ret);
	return 0;
}

int part_from(struct part *part, uint64_t offset)
{
	part->at = offset;
	if (offset > part->size)
		return -EBADMSG;
	return ftruncate(part->fd, (off_t)offset) < 0 ? -errno : 0;
}

int part_write(struct part *part, uint64_t offset, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;

	if (offset < part->at || offset > part->size || len > part->size - offset)
		return -EBADMSG;
	part->at = offset + len;
	while (len > 0) {
		ssize_t n = pwrite(part->fd, from, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Behind the last bytes may be a hole. */
static int finish(struct part *part, mode_t mode, int64_t mtime_ns, bool sync)
{
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT},
		{.tv_sec = mtime_ns / 1000000000, .tv_nsec = mtime_ns % 1000000000}};

	if (times[1].tv_nsec < 0) {
		times[1].tv_nsec += 1000000000;
		times[1].tv_sec--;
	}
	if (part->at < part->size && ftruncate(part->fd, (off_t)part->size) < 0)
		return -errno;
	if (sync && fsync(part->fd) < 0)
		return -errno;
	/* Last, since with another mode it is not known again should we be killed before the end.
	 */
	if (futimens(part->fd, times) < 0 || fchmod(part->fd, mode & 0777) < 0)
		return -errno;
	if (!is_named(part))
		return -ESTALE;
	return renameat(part->dir, part->temporary, part->dir, part->name) < 0 ? -errno : 0;
}

int part_commit(struct part *part, const uint8_t digest[COPY_DIGEST_SIZE], mode_t mode,
	int64_t mtime_ns, bool sync)
{
	uint8_t ours[COPY_DIGEST_SIZE];
	int r;

	copy_digest_end(&part->digest, ours);
	r = memcmp(ours, digest, sizeof(ours)) == 0 ? finish(part, mode, mtime_ns, sync) : -EBADMSG;
	if (r < 0)
		part_end(part, false);
	else
		part->fd = fd_close(part->fd);
	return r;
}

void part_end(struct part *part, bool cut)
{
	if (part->fd < 0)
		return;
	if ((!cut || !part->keep || part->at == 0) && is_named(part))
		(void)unlinkat(part->dir, part->temporary, 0);
	part->fd = fd_close(part->fd);
}
