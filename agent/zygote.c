/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/inner.h"
#include "proto/cleanup.h"
#include "proto/log.h"

int zygote_tell_here(void)
{
	struct inner_message here = {.kind = INNER_HERE, .arg = (uint64_t)getpid()};
	AUTO_CLOSE int pidfd = pidfd_open(getpid(), 0);

	/* Systemd passes it without. */
	if (pidfd < 0 || fcntl(INNER_FD, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return inner_send(INNER_FD, &here, NULL, &pidfd, 1);
}

/* fork(), but for the parent. The C library's own would not know of flags; it has nothing to do
 * where there is one thread. */
static pid_t fork_sibling(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_PARENT, NULL, NULL, NULL, 0);
}

/* In the fork: its end of a pair takes the place of the zygote's. */
static int become_fork(int fd)
{
	if (dup3(fd, INNER_FD, O_CLOEXEC) < 0)
		return -errno;
	/* Before anything of a caller is read: what is told here is our own word. */
	return zygote_tell_here();
}

int zygote_serve(void)
{
	struct inner_message message;
	int fds[INNER_FDS_MAX], r;
	size_t n_fds;

	while ((r = inner_receive(INNER_FD, &message, NULL, 0, fds, &n_fds)) > 0) {
		pid_t pid = n_fds == 1 && message.kind == INNER_NEW ? fork_sibling() : -1;

		if (pid < 0)
			log_error("no process for a request: %s", strerror(errno));
		if (pid == 0)
			r = become_fork(fds[0]);
		inner_close_fds(fds);
		if (pid == 0)
			return r;
	}
	return -ESHUTDOWN;
}
