/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session/lane.h"
#include "agent/session/remote.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

struct request *request_find(struct session *session, uint64_t id)
{
	LIST_EACH(&session->requests, node)
	{
		struct request *request = container_of(node, struct request, node);

		if (request->id == id)
			return request;
	}
	return NULL;
}

struct request *request_of_serial(struct session *session, uint64_t serial)
{
	LIST_EACH(&session->requests, node)
	{
		struct request *request = container_of(node, struct request, node);

		if (request->serial == serial)
			return request;
	}
	return NULL;
}

struct request *request_open(struct session *session, uint64_t id, enum method method)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	*request = (struct request){.session = session,
		.id = id,
		.serial = ++session->last_serial,
		.method = method,
		.pipe = -EBADF};
	list_append(&session->requests, &request->node);
	session->requests_n++;
	return request;
}

void request_close(struct request *request)
{
	list_remove(&request->node);
	request->session->requests_n--;
	if (request->lane)
		lane_request_gone(request->lane);
	loop_io_del(&request->io);
	loop_timer_del(&request->timer);
	(void)fd_close(request->pipe);
	buffer_clear(&request->part);
	free(request);
}

static void close_by_id(struct session *session, uint64_t id)
{
	struct request *request = request_find(session, id);

	if (request)
		request_close(request);
}

void request_reply(struct session *session, uint64_t id, const ProtobufCMessage *result)
{
	close_by_id(session, id);
	if (reply_result(&session->out, id, result, false, session->max_frame) < 0)
		request_fail(session, id, POSTERN__V1__CODE__INTERNAL, "no memory for the answer");
}

static void fail_with(struct session *session, uint64_t id, Postern__V1__Error *error)
{
	close_by_id(session, id);
	if (reply_error(&session->out, id, error, session->max_frame) < 0)
		loop_stop(&session->loop, 1);
}

void request_fail(struct session *session, uint64_t id, Postern__V1__Code code, const char *message)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;

	error.has_code = true;
	error.code = code;
	error.message = (char *)message;
	fail_with(session, id, &error);
}

static void deny(struct session *session, uint64_t id, enum method method)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	const struct verdict *verdict = &session->verdicts.method[method];
	char text[256];

	(void)snprintf(text, sizeof(text), "%s is denied to %s by the policy (%s)",
		method_rows[method].name, session->facts.identity,
		verdict->rule[0] ? verdict->rule : "no rule allows it");
	error.has_code = true;
	error.code = POSTERN__V1__CODE__PERMISSION_DENIED;
	error.message = text;
	error.rule = verdict->rule[0] ? (char *)verdict->rule : (char *)"no rule";
	if (method_rows[method].flags & MUTATING) {
		error.has_outcome = true;
		error.outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	}
	fail_with(session, id, &error);
}

void request_end(struct session *session, uint64_t id, enum method method, Postern__V1__Code code,
	Postern__V1__Outcome outcome, const char *message)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;

	error.has_code = true;
	error.code = code;
	error.message = (char *)message;
	if (method_rows[method].flags & MUTATING) {
		error.has_outcome = true;
		error.outcome = outcome;
	}
	fail_with(session, id, &error);
}

static void fail_late(
	struct session *session, uint64_t id, enum method method, Postern__V1__Outcome outcome)
{
	request_end(session, id, method, POSTERN__V1__CODE__DEADLINE_EXCEEDED, outcome,
		"not done in time");
}

Postern__V1__Outcome request_outcome(const struct request *request)
{
	enum where where = method_rows[request->method].where;

	return where == BROKER || (where == WATCHER && !request->unasked)
		       ? POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN
		       : POSTERN__V1__OUTCOME__NOT_DONE;
}

static void on_late(struct loop_timer *timer)
{
	struct request *request = container_of(timer, struct request, timer);
	struct session *session = request->session;

	ask_withdraw(request);
	events_cancel(session, request->id);
	fail_late(session, request->id, request->method, request_outcome(request));
	conn_update(session);
}

void request_wait(struct request *request, uint64_t deadline)
{
	request->timer.fn = on_late;
	loop_timer_set(&request->session->loop, &request->timer, deadline);
}

void request_run(struct session *session, uint64_t id, enum method method, uint64_t deadline,
	const uint8_t *params, size_t len)
{
	struct call call = {.arena = &session->arena,
		.method = method,
		.id = id,
		.deadline = deadline,
		.max_frame = session->max_frame,
		.verdicts = &session->verdicts,
		.program = session,
		.out = &session->out};
	int r = dispatch(&call, params, len);

	if (r == CALL_DEFERRED) {
		struct request *request = request_find(session, id);

		if (request)
			request_wait(request, deadline);
		return;
	}
	close_by_id(session, id);
	if (r < 0)
		loop_stop(&session->loop, 1);
}

/* From the frame's last byte on: nothing is read while frames that came are held back. */
static uint64_t deadline_of(
	const struct session *session, const Postern__V1__Request *request, enum method method)
{
	const struct method_row *row = &method_rows[method];
	uint32_t ms = request->timeout_ms ? request->timeout_ms : row->default_ms;

	return session->reader.arrived_ns + (ms < row->max_ms ? ms : row->max_ms) * NSEC_PER_MSEC;
}

static bool runs_here(enum method method)
{
	return method_rows[method].where == SESSION || method_rows[method].where == BROKER;
}

void request_take(struct session *session, const Postern__V1__Request *request)
{
	enum method method;
	uint64_t deadline;

	if (request->id == 0 || !request->method) {
		request_fail(session, request->id, POSTERN__V1__CODE__INVALID_ARGUMENT,
			"a request needs an id other than 0, and a method");
		return;
	}
	if (request_find(session, request->id)) {
		/* The open one keeps the id and gets its own answer. */
		Postern__V1__Error error = POSTERN__V1__ERROR__INIT;

		error.has_code = true;
		error.code = POSTERN__V1__CODE__ALREADY_EXISTS;
		error.message = (char *)"a request of this id is still open";
		if (reply_error(&session->out, request->id, &error, session->max_frame) < 0)
			loop_stop(&session->loop, 1);
		return;
	}
	method = method_find(request->method, strlen(request->method));
	if (method == METHOD_COUNT) {
		request_fail(session, request->id, POSTERN__V1__CODE__UNIMPLEMENTED,
			"no such method; system.methods lists them");
		return;
	}
	if (!session->verdicts.method[method].allowed) {
		deny(session, request->id, method);
		return;
	}
	if (session->requests_n >= OPEN_REQUESTS_MAX) {
		request_end(session, request->id, method, POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			POSTERN__V1__OUTCOME__NOT_DONE,
			"too many open requests on this connection");
		return;
	}
	deadline = deadline_of(session, request, method);
	if (session->resuming && monotonic_ns() >= deadline)
		fail_late(session, request->id, method, POSTERN__V1__OUTCOME__NOT_DONE);
	else if (method_rows[method].where == WATCHER)
		watcher_start(session, request, method, deadline);
	else if (runs_here(method))
		request_run(session, request->id, method, deadline, request->params.data,
			request->params.len);
	else if (row_has_lane(method))
		lane_start(session, request, method, deadline);
	else
		remote_start(session, request, method, deadline);
}

void request_cancel(struct session *session, uint64_t id)
{
	struct request *request = request_find(session, id);

	if (!request)
		return;
	if (request->pipe >= 0) {
		remote_cancel(request);
		return;
	}
	if (request->lane) {
		lane_cancel(request->lane);
		return;
	}
	ask_withdraw(request);
	events_cancel(session, id);
	request_end(session, id, request->method, POSTERN__V1__CODE__CANCELLED,
		request_outcome(request), "cancelled by the caller");
}
