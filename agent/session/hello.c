/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/session/session.h"
#include "proto/log.h"

/* One rule at least lets this identity do something. */
static bool may_do_anything(const struct session *session)
{
	for (int i = 0; i < METHOD_COUNT; i++)
		if (session->verdicts.method[i].allowed)
			return true;
	return false;
}

/* How large the frames are that the peer takes. */
static size_t peer_limit(const Postern__V1__Hello *hello)
{
	uint32_t asked = hello->max_frame ? hello->max_frame : FRAME_DEFAULT_MAX;

	if (asked < FRAME_MIN_MAX_SIZE)
		return FRAME_MIN_MAX_SIZE;
	return asked < FRAME_CEILING ? asked : FRAME_CEILING;
}

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void answer(struct session *session, const Postern__V1__Hello *hello)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__HelloReply reply = POSTERN__V1__HELLO_REPLY__INIT;
	struct session_facts *facts = &session->facts;

	reply.has_major = reply.has_minor = true;
	reply.major = POSTERN_MAJOR;
	reply.minor = lower(hello->minor, POSTERN_MINOR);
	reply.agent_version = facts->agent_version;
	reply.has_features = true;
	reply.has_max_frame = true;
	reply.max_frame = facts->max_frame;
	reply.has_boot_id = true;
	reply.boot_id.data = facts->boot_id;
	reply.boot_id.len = sizeof(facts->boot_id);
	reply.has_generation = true;
	reply.generation = facts->generation;
	reply.has_epoch = true;
	reply.epoch = facts->epoch;
	reply.identity = facts->identity;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_HELLO_REPLY;
	from.hello_reply = &reply;
	(void)conn_send_message(session, &from);
}

void hello_take(struct session *session, const Postern__V1__ToAgent *frame)
{
	const Postern__V1__Hello *hello = frame->hello;

	if (session->phase != BEFORE_HELLO ||
		frame->kind_case != POSTERN__V1__TO_AGENT__KIND_HELLO) {
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_HELLO_EXPECTED,
			session->phase == BEFORE_HELLO ? "the first frame must be a hello"
						       : "a second hello");
		return;
	}
	if (!hello->has_major || hello->major != POSTERN_MAJOR) {
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_VERSION,
			"this agent speaks version 1");
		return;
	}
	if (hello->client && strlen(hello->client) > HOST_CLIENT_NAME_MAX) {
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_BAD_FRAME,
			"the client's name is longer than 128 bytes");
		return;
	}
	if (!may_do_anything(session)) {
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_REFUSED,
			"no rule of the policy lets you do anything");
		return;
	}
	session->phase = SERVING;
	session->max_frame = peer_limit(hello);
	session->reader.limit = session->facts.max_frame;
	loop_timer_del(&session->timer);
	answer(session, hello);
}

int hello_announce(const struct session_facts *facts, int socket)
{
	Postern__V1__Ready ready = POSTERN__V1__READY__INIT;
	struct buffer out = {0};
	ssize_t n;
	int r;

	ready.agent_version = (char *)facts->agent_version;
	ready.has_boot_id = true;
	ready.boot_id.data = (uint8_t *)facts->boot_id;
	ready.boot_id.len = sizeof(facts->boot_id);
	ready.has_generation = true;
	ready.generation = facts->generation;
	r = frame_append(&out, &ready.base, FRAME_HELLO_MAX);
	if (r == 0) {
		n = send(socket, buffer_front(&out), buffer_len(&out), MSG_NOSIGNAL);
		r = n < 0 ? -errno : 0;
	}
	buffer_clear(&out);
	return r;
}
