/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/file_work.h"
#include "agent/methods/replace_alike.h"
#include "proto/write.h"

#define BUFFER_SIZE (256u << 10)

static int copy_bytes(int from, int to, struct digest *digest, struct file_copying *copying)
{
	AUTO_FREE uint8_t *buffer = malloc(BUFFER_SIZE);
	int r = buffer ? 0 : -ENOMEM;

	(void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
	while (r == 0) {
		ssize_t n = read(from, buffer, BUFFER_SIZE);

		copying->unreadable = n < 0;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		digest_add(digest, buffer, (size_t)n);
		copying->size += (uint64_t)n;
		r = write_all(to, buffer, (size_t)n);
	}
	return r;
}

/* From the disk, as far as the kernel lets go of what it has in memory. */
static int read_back(int fd, struct file_copying *copying, char text[DIGEST_TEXT_MAX])
{
	uint64_t size;
	int r;

	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	r = digest_file(copying->algorithm, fd, text, &size);
	return r == 0 && strcmp(text, copying->source_footprint) != 0 ? -EBADMSG : r;
}

/* The file, not at its place yet, whole and on the disk. */
static int fill(struct call *call, int from, const ProtobufCBinaryData *data, int fd,
	struct file_copying *copying)
{
	char text[DIGEST_TEXT_MAX];
	struct digest digest;
	struct stat st = {.st_mode = FILE_MODE_DEFAULT, .st_size = data ? (off_t)data->len : 0};
	int r = from >= 0 && fstat(from, &st) < 0 ? -errno : 0;

	digest_begin(&digest, copying->algorithm, (uint64_t)st.st_size);
	if (from >= 0) {
		if (r == 0)
			r = copy_bytes(from, fd, &digest, copying);
	} else if (data) {
		digest_add(&digest, data->data, data->len);
		copying->size = data->len;
		r = write_all(fd, data->data, data->len);
	}
	digest_end(&digest, text);
	copying->source_footprint = copying->footprint = arena_strdup(call->arena, text);
	if (!copying->footprint)
		return -ENOMEM;
	/* A file system without modes (vfat) has nothing to set. */
	if (r == 0 && fchmod(fd, st.st_mode & 0777) < 0 && errno != EPERM)
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && copying->verify) {
		r = read_back(fd, copying, text);
		copying->footprint = arena_strdup(call->arena, text);
	}
	return r;
}

static int fail(
	struct call *call, const struct file_place *to, int r, const struct file_copying *copying)
{
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	if (copying->unreadable)
		return call_fail_errno(call, r, "%s", copying->source);
	if (r == -EBADMSG)
		return call_fail(call, POSTERN__V1__CODE__DATA_LOSS, EBADMSG,
			"%s: the disk has other bytes than were written", to->path);
	return file_fail(call, to, r);
}

/* A link or anything else but a file is not replaced. */
static int check_target(struct call *call, const struct file_place *to, bool replace)
{
	struct stat st;

	if (fstatat(to->dir, to->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : file_fail(call, to, -errno);
	if (!replace)
		return file_fail(call, to, -EEXIST);
	if (S_ISREG(st.st_mode))
		return 0;
	return file_fail(call, to, S_ISDIR(st.st_mode) ? -EISDIR : -ENOTSUP);
}

/* Without a name, where the file system has such files: whatever becomes of this process, nothing
 * is left of it. Elsewhere fresh is its name for now. 0 or -errno. */
static int open_fresh(const struct file_place *to, char fresh[ALIKE_NAME_SIZE], int *ret_fd)
{
	int r;

	fresh[0] = '\0';
	*ret_fd = openat(to->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*ret_fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	r = alike_fresh_name(ALIKE_PREFIX, fresh);
	if (r == 0)
		*ret_fd = openat(to->dir, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return r == 0 && *ret_fd < 0 ? -errno : r;
}

static int link_as(int fd, const struct file_place *to, const char *name)
{
	char own[32];

	(void)snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, own, to->dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* A link does not take the place of another: only over a name of its own. 0 or -errno: -EEXIST. */
static int take_place(
	int fd, const struct file_place *to, char fresh[ALIKE_NAME_SIZE], bool replace)
{
	int r = 0;

	if (fresh[0] == '\0') {
		r = link_as(fd, to, to->name);
		if (r != -EEXIST || !replace)
			return r;
		r = alike_fresh_name(ALIKE_PREFIX, fresh);
		if (r == 0)
			r = link_as(fd, to, fresh);
	}
	return r < 0 ? r : file_rename(to->dir, fresh, to->dir, to->name, replace);
}

int file_copy(struct call *call, int from, const ProtobufCBinaryData *data,
	const struct file_place *to, struct file_copying *copying)
{
	AUTO_CLOSE int fd = -EBADF;
	char fresh[ALIKE_NAME_SIZE];
	int r = file_place_is_inside(call, to);

	if (r == 0)
		r = check_target(call, to, copying->replace);
	if (r < 0)
		return r;
	worker_changing(call);
	r = open_fresh(to, fresh, &fd);
	if (r < 0)
		return fail(call, to, r, copying);
	r = fill(call, from, data, fd, copying);
	if (r == 0)
		r = take_place(fd, to, fresh, copying->replace);
	if (r == 0)
		return 0;
	if (fresh[0] != '\0')
		(void)unlinkat(to->dir, fresh, 0);
	return fail(call, to, r, copying);
}
