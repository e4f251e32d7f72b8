/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/file_work.h"
#include "agent/methods/replace_alike.h"
#include "proto/write.h"

#define BUFFER_SIZE (256u << 10)

/* *ret_read tells an error of the source from one of the target. */
static int copy_bytes(int from, int to, struct digest *digest, uint64_t *ret_size, bool *ret_read)
{
	AUTO_FREE uint8_t *buffer = malloc(BUFFER_SIZE);
	int r = buffer ? 0 : -ENOMEM;

	(void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
	while (r == 0) {
		ssize_t n = read(from, buffer, BUFFER_SIZE);

		*ret_read = n < 0;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		digest_add(digest, buffer, (size_t)n);
		*ret_size += (uint64_t)n;
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

/* The file under its other name, whole and on the disk. */
static int fill(struct call *call, int from, const ProtobufCBinaryData *data, int fd,
	struct file_copying *copying, bool *ret_read)
{
	char text[DIGEST_TEXT_MAX];
	struct digest digest;
	struct stat st = {.st_mode = FILE_MODE_DEFAULT, .st_size = data ? (off_t)data->len : 0};
	int r = from >= 0 && fstat(from, &st) < 0 ? -errno : 0;

	digest_begin(&digest, copying->algorithm, (uint64_t)st.st_size);
	if (from >= 0) {
		if (r == 0)
			r = copy_bytes(from, fd, &digest, &copying->size, ret_read);
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

static int fail(struct call *call, const struct file_place *to, int r, bool was_read)
{
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	if (was_read)
		return call_fail_errno(call, r, "what is copied cannot be read");
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

int file_copy(struct call *call, int from, const ProtobufCBinaryData *data,
	const struct file_place *to, struct file_copying *copying)
{
	AUTO_CLOSE int fd = -EBADF;
	char fresh[ALIKE_NAME_SIZE];
	bool was_read = false;
	int r = file_place_is_inside(call, to);

	if (r == 0)
		r = check_target(call, to, copying->replace);
	if (r == 0)
		r = alike_fresh_name(ALIKE_PREFIX, fresh);
	if (r < 0)
		return r;
	worker_changing(call);
	fd = openat(to->dir, fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(call, to, -errno, false);
	r = fill(call, from, data, fd, copying, &was_read);
	if (r == 0)
		r = file_rename(to->dir, fresh, to->dir, to->name, copying->replace);
	if (r == 0)
		return 0;
	(void)unlinkat(to->dir, fresh, 0);
	return fail(call, to, r, was_read);
}
