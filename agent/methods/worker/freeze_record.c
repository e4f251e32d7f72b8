/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/freeze_record.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/encode.h"
#include "proto/replace.h"
#include "proto/verify.h"

#define LOCK       "frozen.lock"
#define RECORD_MAX (256u << 10)
#define AGAIN_MS   20

static int open_dir(struct call *call)
{
	int fd = open(worker_facts(call)->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int freeze_lock(struct call *call, int *ret_fd)
{
	AUTO_CLOSE int dir = open_dir(call);
	AUTO_CLOSE int fd = -EBADF;

	if (dir < 0)
		return dir;
	/* Nobody else can open it, and so hold it. */
	fd = openat(dir, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (monotonic_ns() + AGAIN_MS * NSEC_PER_MSEC > call->deadline)
			return -EBUSY;
		(void)nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * NSEC_PER_MSEC}, NULL);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int freeze_record_read(struct call *call, Postern__V1__FilesystemsStatusReply **ret)
{
	AUTO_CLOSE int dir = open_dir(call);
	AUTO_CLOSE int fd =
		dir < 0 ? -EBADF : openat(dir, FREEZE_RECORD, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const char *why;
	struct stat st;
	uint8_t *bytes;

	*ret = NULL;
	if (dir < 0 || fd < 0)
		return dir < 0 ? dir : errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || st.st_size > RECORD_MAX)
		return -EBADMSG;
	bytes = arena_alloc(call->arena, (size_t)st.st_size + 1);
	if (!bytes)
		return -ENOMEM;
	if (pread(fd, bytes, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	*ret = (Postern__V1__FilesystemsStatusReply *)verify_unpack(
		&postern__v1__filesystems_status_reply__descriptor, bytes, (size_t)st.st_size,
		&verify_agent_limits, call->arena, &why);
	return *ret ? 0 : -EBADMSG;
}

int freeze_record_write(struct call *call, const Postern__V1__FilesystemsStatusReply *record)
{
	size_t len = 0;
	uint8_t *packed = encode_in_arena(call->arena, &record->base, &len);
	AUTO_CLOSE int dir = open_dir(call);

	if (dir < 0)
		return dir;
	return packed ? replace_file(dir, FREEZE_RECORD, 0644, packed, len) : -ENOMEM;
}

int freeze_record_remove(struct call *call)
{
	AUTO_CLOSE int dir = open_dir(call);

	if (dir < 0)
		return dir;
	return unlinkat(dir, FREEZE_RECORD, 0) < 0 && errno != ENOENT ? -errno : 0;
}
