/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/remote.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/inner.h"

/* Writes all of it; the session's end of the pipe may be full for a while. */
static int write_parts(int fd, struct iovec *iov, int n)
{
	while (n > 0) {
		ssize_t written = writev(fd, iov, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		while (n > 0 && (size_t)written >= iov->iov_len) {
			written -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + written;
			iov->iov_len -= (size_t)written;
		}
	}
	return 0;
}

int remote_reply(int pipe, struct buffer *out, bool last)
{
	size_t len = buffer_len(out);
	struct reply_head head = {.len = (uint32_t)len, .last = last};
	struct iovec iov[] = {{&head, sizeof(head)}, {buffer_front(out), len}};
	int r = write_parts(pipe, iov, 2);

	buffer_consume(out, len);
	return r;
}

int remote_refuse(int lane, uint32_t why)
{
	struct reply_head head = {.last = 1, .refused = (uint16_t)why};
	struct iovec iov = {&head, sizeof(head)};

	return write_parts(lane, &iov, 1);
}

int remote_body(struct arena *arena, int fd, uint8_t **ret_body, size_t *ret_len)
{
	struct stat st = {0};

	if (fd >= 0 && fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size > FRAME_CEILING)
		return -EMSGSIZE;
	*ret_body = arena_alloc(arena, (size_t)st.st_size + 1);
	if (!*ret_body)
		return -ENOMEM;
	if (st.st_size > 0 && pread(fd, *ret_body, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
		return -EIO;
	*ret_len = (size_t)st.st_size;
	return 0;
}
