/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/kmod.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/broker/child.h"
#include "proto/cleanup.h"

#define KMOD_SOCKET "/run/postern/kmod.sock"

/* The unit's socket. The listener has a backlog, so this does not wait for the program. */
static int connect_unit(int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = KMOD_SOCKET};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* A process of its own for this one worker; it ends when the worker closes its end. */
static int start_own(struct broker *broker, int *ret_fd)
{
	struct child *child;
	int r = child_start(broker, ROLE_KMOD, &child);

	if (r < 0)
		return r;
	child->spare = false;
	loop_io_del(&child->socket_io);
	*ret_fd = take_fd(&child->socket);
	return 0;
}

void kmod_connect(struct child *worker)
{
	struct inner_message message = {.kind = INNER_KMOD};
	AUTO_CLOSE int fd = -EBADF;
	int r = connect_unit(&fd);

	if (r < 0)
		r = start_own(worker->broker, &fd);
	message.arg = (uint64_t)-r;
	(void)child_send(worker, &message, NULL, &fd, r == 0 ? 1 : 0);
}
