/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/session/session.h"
#include "proto/clock.h"

int session_ask(struct call *call, uint64_t number, const struct told **ret_told)
{
	struct session *session = call->program;
	struct inner_message ask = {
		.kind = INNER_ASK, .method = (uint16_t)call->method, .arg = number};
	struct request *open;

	*ret_told = session->told;
	if (session->told)
		return 0;
	open = request_open(session, call->id, call->method);
	if (!open)
		return -ENOMEM;
	ask.id = open->serial;
	if (inner_send(session->broker, &ask, NULL, NULL, 0) < 0)
		return -EIO;
	return CALL_DEFERRED;
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
