/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/broker/child.h"
#include "proto/cleanup.h"
#include "proto/log.h"
#include "proto/exec.h"

static void on_exit_(struct child *child)
{
	struct broker *broker = child->broker;

	broker->keeper = NULL;
	child_free(child);
	if (!broker->stopping)
		log_warning(
			"the process that may start postern-kmod ended: no module is loaded until "
			"the agent is started again");
}

int keeper_start(struct broker *broker)
{
	int r;

	if (!confine_has(CAP(SYS_MODULE)))
		return 0;
	r = child_start(broker, ROLE_KMOD, &broker->keeper);
	if (r < 0)
		return r;
	broker->keeper->spare = false;
	broker->keeper->on_exit = on_exit_;
	/* It has nothing to say. */
	loop_io_del(&broker->keeper->socket_io);
	r = confine_give_up(CAP(SYS_MODULE));
	if (r < 0)
		log_error("the right to load modules cannot be given up: %s", strerror(-r));
	return r;
}

int keeper_connect(struct broker *broker, int *ret_fd)
{
	struct inner_message message = {.kind = INNER_KMOD};
	AUTO_CLOSE int ours = -EBADF;
	AUTO_CLOSE int theirs = -EBADF;
	int pair[2], r;

	if (!broker->keeper)
		return -ENOTCONN;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = child_send(broker->keeper, &message, NULL, &theirs, 1);
	if (r == 0)
		*ret_fd = take_fd(&ours);
	return r;
}

int keeper_main(const char *program)
{
	char *argv[] = {(char *)"postern-kmod", NULL};
	struct inner_message message;
	int fds[INNER_FDS_MAX], r;
	size_t n_fds;
	pid_t pid;

	(void)prctl(PR_SET_NAME, "postern-keeper");
	r = confine_keeper(CAP(SYS_MODULE));
	if (r < 0) {
		log_error("capabilities: %s", strerror(-r));
		return 1;
	}
	/* A process 1 that brings the guest down signals everybody; the broker says when. */
	(void)signal(SIGTERM, SIG_IGN);
	/* Nobody waits for them: each ends with its connection. */
	(void)signal(SIGCHLD, SIG_IGN);
	while ((r = inner_receive(INNER_FD, &message, NULL, 0, fds, &n_fds)) > 0) {
		r = n_fds == 1 ? spawn_program(program, argv, fds[0], false, &pid) : -EBADMSG;
		if (r < 0)
			log_error("%s cannot be started: %s", program, strerror(-r));
		inner_close_fds(fds);
	}
	return r < 0;
}
