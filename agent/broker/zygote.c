/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "agent/broker/child.h"
#include "agent/broker/job.h"
#include "proto/cleanup.h"

struct child **zygote_place(struct broker *broker, enum role role)
{
	return role == ROLE_JOB ? &broker->job_zygote : &broker->worker_zygote;
}

int zygote_start(struct broker *broker, enum role role)
{
	struct child **place = zygote_place(broker, role);

	return role == ROLE_JOB ? job_zygote_start(broker, place)
				: child_start(broker, role, place);
}

int zygote_fork(struct broker *broker, enum role role, struct child **ret_child)
{
	struct inner_message message = {.kind = INNER_NEW};
	struct child **place = zygote_place(broker, role);
	AUTO_CLOSE int ours = -EBADF;
	AUTO_CLOSE int theirs = -EBADF;
	int pair[2], r = 0;

	if (!*place)
		r = zygote_start(broker, role);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = child_send(*place, &message, NULL, &theirs, 1);
	return r < 0 ? r : child_adopt(broker, role, take_fd(&ours), ret_child);
}
