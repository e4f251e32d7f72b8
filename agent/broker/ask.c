/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/ask.h"

#include <errno.h>

#include "agent/broker/channel.h"
#include "agent/broker/child.h"
#include "agent/broker/footprint.h"
#include "agent/broker/freeze.h"
#include "agent/broker/job.h"
#include "agent/broker/session.h"
#include "proto/cleanup.h"
#include "proto/log.h"

void ask_answer(struct session *session, uint64_t serial, enum method method, int error,
	const void *body, size_t len)
{
	struct inner_message message = {.kind = INNER_TOLD,
		.id = serial,
		.method = (uint16_t)method,
		.arg = (uint64_t)error,
		.body_len = (uint32_t)len};

	(void)child_send(session->child, &message, body, NULL, 0);
}

static void tell_footprint(struct session *session, const struct inner_message *message)
{
	struct footprint footprint;

	footprint_take(session->broker, &footprint);
	ask_answer(session, message->id, (enum method)message->method, 0, &footprint,
		sizeof(footprint));
}

static void tell_channels(struct session *session, const struct inner_message *message)
{
	static struct channel_facts facts[CHANNELS_MAX];
	size_t n = channel_list(session->broker, &session->identity, facts);

	ask_answer(session, message->id, METHOD_channels_list, 0, facts, n * sizeof(facts[0]));
}

static void tell_jobs(struct session *session, const struct inner_message *message)
{
	static struct job_facts facts[JOBS_MAX];
	size_t n = job_list(session->broker, &session->identity, facts);

	ask_answer(session, message->id, METHOD_exec_list, 0, facts, n * sizeof(facts[0]));
}

/* The caller's own connection is where the channel is to go: who asks for it is known. */
static void open_channel(
	struct session *session, const struct inner_message *message, const uint8_t *token, int *fd)
{
	uint64_t number = 0;

	if (*fd >= 0 && message->body_len == TOKEN_SIZE)
		number = channel_present(session->broker, take_fd(fd), &session->identity, token);
	ask_answer(session, message->id, METHOD_channels_open, number ? 0 : ENOENT, &number,
		number ? sizeof(number) : 0);
}

void ask_take(struct session *session, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX])
{
	enum method method = (enum method)message->method;
	int r;

	if (message->method >= METHOD_COUNT || method_rows[method].where != BROKER ||
		!session->verdicts.method[method].allowed) {
		log_warning("session (pid %d) asked for what it may not", session->child->pid);
		child_kill(session->child);
		return;
	}
	child_hear_all(session->broker);
	switch (method) {
	case METHOD_system_info:
	case METHOD_metrics_get:
		tell_footprint(session, message);
		break;
	case METHOD_channels_list:
		tell_channels(session, message);
		break;
	case METHOD_channels_open:
		open_channel(session, message, body, &fds[0]);
		break;
	case METHOD_channels_kill:
		r = channel_kill(session->broker, &session->identity, message->arg);
		ask_answer(session, message->id, method, -r, NULL, 0);
		break;
	case METHOD_exec_list:
		tell_jobs(session, message);
		break;
	case METHOD_exec_wait:
		job_wait(session, message->id, message->arg);
		break;
	case METHOD_exec_forget:
		r = job_forget(session->broker, &session->identity, message->arg);
		ask_answer(session, message->id, method, -r, NULL, 0);
		break;
	case METHOD_filesystems_extend:
		r = freeze_extend(session->broker, &session->identity, message->arg, message->aux);
		ask_answer(session, message->id, method, -r, NULL, 0);
		break;
	default:
		log_error("%s has no answer", method_rows[method].name);
		ask_answer(session, message->id, method, ENOSYS, NULL, 0);
	}
}
