/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/session/session.h"
#include "proto/clock.h"

static int ask(struct call *call, struct inner_message *message, const void *body, int fd,
	const struct told **ret_told)
{
	struct session *session = call->program;
	struct request *open;

	*ret_told = session->told;
	if (session->told)
		return 0;
	open = request_open(session, call->id, call->method);
	if (!open)
		return -ENOMEM;
	message->kind = INNER_ASK;
	message->method = (uint16_t)call->method;
	message->id = open->serial;
	if (inner_send(session->broker, message, body, &fd, fd >= 0) < 0)
		return -EIO;
	return CALL_DEFERRED;
}

int session_ask(struct call *call, uint64_t number, uint64_t value, const struct told **ret_told)
{
	struct inner_message message = {.arg = number, .aux = value};

	return ask(call, &message, NULL, -EBADF, ret_told);
}

int session_present(
	struct call *call, const uint8_t token[TOKEN_SIZE], int fd, const struct told **ret_told)
{
	struct inner_message message = {.body_len = TOKEN_SIZE};

	return ask(call, &message, token, fd, ret_told);
}

void ask_withdraw(const struct request *request)
{
	struct inner_message message = {.kind = INNER_CANCEL, .id = request->serial};

	if (method_rows[request->method].where == BROKER)
		(void)inner_send(request->session->broker, &message, NULL, NULL, 0);
}

void ask_told(struct session *session, uint64_t serial, const struct told *told)
{
	struct request *request = request_of_serial(session, serial);

	/* It may have been cancelled, or have had its time. */
	if (!request || method_rows[request->method].where != BROKER)
		return;
	arena_reset(&session->arena);
	session->told = told;
	request_run(session, request->id, request->method, monotonic_ns(), NULL, 0);
	session->told = NULL;
}
