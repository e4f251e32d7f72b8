/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-session: serves one connection and ends with it. Started by posternd only. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/sandbox/confine.h"
#include "agent/session/lane.h"
#include "agent/session/remote.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#define RUNS_SESSION 1
#define RUNS_READER  0
#define RUNS_WORKER  0
#define RUNS_BROKER  1
#define RUNS_WATCHER 0
#define RUNS_NEW_JOB 0
#define RUNS_JOB     0
#include "agent/methods/handlers.h"

static struct session session;

static int take_start(const struct inner_message *message, int fds[INNER_FDS_MAX], size_t n_fds)
{
	size_t n = 0;

	for (int i = 0; i < SESSION_FD_COUNT; i++)
		if (message->arg >> i & 1 && n < n_fds)
			session.fds[i] = take_fd(&fds[n++]);
	session.socket = take_fd(&session.fds[SESSION_FD_SOCKET]);
	if (session.socket < 0 ||
		pread(session.fds[SESSION_FD_VERDICTS], &session.verdicts, sizeof(session.verdicts),
			0) != (ssize_t)sizeof(session.verdicts))
		return -EBADMSG;
	return conn_start(&session);
}

static int take_message(
	const struct inner_message *message, void *body, int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct told told;

	switch (message->kind) {
	case INNER_START:
		if (session.socket >= 0 || message->body_len != sizeof(session.facts))
			return -EBADMSG;
		memcpy(&session.facts, body, sizeof(session.facts));
		return take_start(message, fds, n_fds);
	case INNER_ANNOUNCE:
		if (n_fds != 1 || message->body_len != sizeof(session.facts))
			return -EBADMSG;
		memcpy(&session.facts, body, sizeof(session.facts));
		(void)hello_announce(&session.facts, fds[0]);
		return -ESHUTDOWN;
	case INNER_ENDED:
		remote_ended(&session, message->id, (uint32_t)message->arg);
		break;
	case INNER_LANE_ENDED:
		lane_ended(&session, message->id, message->aux, (uint32_t)message->arg);
		break;
	case INNER_TOLD:
		told = (struct told){(int)message->arg, body, message->body_len};
		ask_told(&session, message->id, &told);
		break;
	case INNER_EVENTS:
		events_connected(&session, take_fd(&fds[0]), (int)message->arg);
		break;
	case INNER_STOP:
		conn_stop(&session);
		break;
	default:
		return -EBADMSG;
	}
	conn_update(&session);
	return 0;
}

static void on_broker(struct loop_io *io, uint32_t events)
{
	static union {
		struct session_facts facts;
		uint8_t told[TOLD_MAX];
	} body;
	int r = inner_take(io->fd, &body, sizeof(body), take_message);

	(void)events;
	if (r <= 0)
		loop_stop(&session.loop, r == 0 || r == -ESHUTDOWN ? 0 : 1);
}

int main(int argc, char **argv)
{
	struct confinement confinement;
	int r;

	log_open("postern-session", LOG_LEVEL_INFO);
	if (confine_from_args(argc, argv, &confinement) < 0)
		return 1;
	/* A process 1 that brings the guest down signals everybody; the broker says when. */
	(void)signal(SIGTERM, SIG_IGN);
	session.socket = session.events = -EBADF;
	session.broker = INNER_FD;
	for (int i = 0; i < SESSION_FD_COUNT; i++)
		session.fds[i] = -EBADF;
	for (int i = 0; i < SUBSCRIPTIONS_MAX; i++)
		session.subscriptions[i].snapshot = -EBADF;
	list_init(&session.requests);
	list_init(&session.lanes);
	list_init(&session.rides);
	arena_init(&session.arena, ARENA_REQUEST_MAX);
	r = loop_init(&session.loop);
	if (r < 0)
		return 1;
	session.broker_io.fn = on_broker;
	r = loop_io_add(&session.loop, &session.broker_io, session.broker, EPOLLIN);
	if (r == 0)
		r = loop_run(&session.loop);
	return r < 0 ? 1 : r;
}
