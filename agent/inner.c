/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/inner.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "proto/cleanup.h"

int inner_send(int socket, const struct inner_message *message, const void *body, const int *fds,
	size_t n_fds)
{
	struct inner_message head = *message;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(INNER_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov[] = {{&head, sizeof(head)}, {(void *)body, message->body_len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = body ? 2 : 1};
	ssize_t n;

	head.magic = INNER_MAGIC;
	if (n_fds > INNER_FDS_MAX || (!body && head.body_len > 0))
		return -EINVAL;
	if (n_fds > 0) {
		struct cmsghdr *cmsg = &control.align;

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	do
		n = sendmsg(socket, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Collects the descriptors of all control messages. */
static size_t take_fds(struct msghdr *msg, int fds[INNER_FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t count;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (n < INNER_FDS_MAX)
				fds[n++] = fd;
			else
				(void)fd_close(fd);
		}
	}
	return n;
}

int inner_receive(int socket, struct inner_message *ret_message, void *body, size_t size,
	int fds[INNER_FDS_MAX], size_t *ret_n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(INNER_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov[] = {{ret_message, sizeof(*ret_message)}, {body, size}};
	struct msghdr msg = {.msg_iov = iov,
		.msg_iovlen = size > 0 ? 2 : 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n;

	for (size_t i = 0; i < INNER_FDS_MAX; i++)
		fds[i] = -EBADF;
	*ret_n_fds = 0;
	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return 0;
	*ret_n_fds = take_fds(&msg, fds);
	if ((size_t)n < sizeof(*ret_message) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
		ret_message->magic != INNER_MAGIC ||
		ret_message->body_len != (size_t)n - sizeof(*ret_message)) {
		inner_close_fds(fds);
		*ret_n_fds = 0;
		return -EBADMSG;
	}
	return 1;
}

int inner_take(int socket, void *body, size_t size, inner_take_fn take)
{
	struct inner_message message;
	int fds[INNER_FDS_MAX];
	size_t n_fds;
	int r = inner_receive(socket, &message, body, size, fds, &n_fds);

	if (r == -EAGAIN)
		return 1;
	if (r > 0)
		r = take(&message, body, fds, n_fds) ?: 1;
	inner_close_fds(fds);
	return r;
}

void inner_close_fds(int fds[INNER_FDS_MAX])
{
	for (size_t i = 0; i < INNER_FDS_MAX; i++)
		fds[i] = fd_close(fds[i]);
}
