/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Methods about what the watcher keeps: over the pair that brings its events. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/verify.h"

static bool is_for_watcher(const struct request *request)
{
	return method_rows[request->method].where == WATCHER;
}

static int prepare(struct request *request, const ProtobufCBinaryData *params)
{
	struct events_command command = {.kind = EVENTS_CALL,
		.subscription = request->serial,
		.method = request->method,
		.id = request->id,
		.max_frame = request->session->max_frame};

	request->unasked = true;
	return buffer_append(&request->part, &command, sizeof(command))
		       ?: buffer_append(&request->part, params->data, params->len);
}

void watcher_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline)
{
	struct request *request;
	const char *why;
	char text[64];

	if (from->params.len > EVENT_PARAMS_MAX) {
		(void)snprintf(
			text, sizeof(text), "parameters of more than %d bytes", EVENT_PARAMS_MAX);
		request_end(session, from->id, method, POSTERN__V1__CODE__INVALID_ARGUMENT,
			POSTERN__V1__OUTCOME__NOT_DONE, text);
		return;
	}
	/* The watcher checks again; here the error costs it nothing. */
	if (verify_message(handlers[method].request, from->params.data, from->params.len,
		    &verify_agent_limits, &why) < 0) {
		request_end(session, from->id, method, POSTERN__V1__CODE__INVALID_ARGUMENT,
			POSTERN__V1__OUTCOME__NOT_DONE, why);
		return;
	}
	request = request_open(session, from->id, method);
	if (!request || prepare(request, &from->params) < 0) {
		request_end(session, from->id, method, POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			POSTERN__V1__OUTCOME__NOT_DONE, "the agent is out of memory");
		return;
	}
	request_wait(request, deadline);
	events_connect(session);
}

bool watcher_ask(struct session *session)
{
	LIST_EACH(&session->requests, node)
	{
		struct request *request = container_of(node, struct request, node);

		if (!request->unasked)
			continue;
		/* Broken otherwise: the loop tells, and all that waits fails then. */
		if (send(session->events, buffer_front(&request->part), buffer_len(&request->part),
			    MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return errno != EAGAIN;
		request->unasked = false;
		buffer_clear(&request->part);
	}
	return true;
}

void watcher_answer(
	struct session *session, const struct events_packet *packet, const uint8_t *payload)
{
	struct request *request = request_of_serial(session, packet->subscription);

	/* It may have been cancelled, or have had its time. */
	if (!request || !is_for_watcher(request) || request->unasked)
		return;
	if (buffer_append(&request->part, payload, packet->payload_len) < 0) {
		request_end(session, request->id, request->method,
			POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN, "no memory for the answer");
		return;
	}
	if (packet->arg == 1 && conn_send(session, &request->part) == 0)
		request_close(request);
}

void watcher_lost(struct session *session, int error)
{
	LIST_EACH(&session->requests, node)
	{
		struct request *request = container_of(node, struct request, node);

		if (is_for_watcher(request))
			request_end(session, request->id, request->method,
				POSTERN__V1__CODE__UNAVAILABLE, request_outcome(request),
				error == ENOTCONN ? "what keeps this is being started again"
						  : strerror(error));
	}
}
