/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/worker/settle.h"

#include <errno.h>

#include "agent/inner.h"
#include "proto/verify.h"

static const char *what_happened(uint32_t why, Postern__V1__Code *ret_code)
{
	switch (why & ~(uint32_t)ENDED_STUCK) {
	case ENDED_DEADLINE:
		*ret_code = POSTERN__V1__CODE__DEADLINE_EXCEEDED;
		return "not finished in time";
	case ENDED_CANCELLED:
		*ret_code = POSTERN__V1__CODE__CANCELLED;
		return "cancelled by the caller";
	default:
		*ret_code = POSTERN__V1__CODE__INTERNAL;
		return "the worker ended without an answer";
	}
}

static const char *in_words(Postern__V1__Outcome outcome, uint32_t why)
{
	switch (outcome) {
	case POSTERN__V1__OUTCOME__DONE:
		return "the change is in effect";
	case POSTERN__V1__OUTCOME__NOT_DONE:
		return "nothing was changed";
	default:
		return why & ENDED_STUCK
			       ? "the kernel has not let go of it yet, so it may still take effect"
			       : "how far it came could not be found out";
	}
}

int settle(struct call *call, const uint8_t *params, size_t len, uint32_t why)
{
	const struct handler *handler = &handlers[call->method];
	Postern__V1__Outcome outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	ProtobufCMessage *request;
	Postern__V1__Code code;
	const char *problem, *happened;

	request = verify_unpack(
		handler->request, params, len, &verify_agent_limits, call->arena, &problem);
	if (!request || handler->settle(call, request, &outcome) < 0)
		outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	/* A process that still hangs in the kernel may yet do it. */
	if (why & ENDED_STUCK && outcome == POSTERN__V1__OUTCOME__NOT_DONE)
		outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	happened = what_happened(why, &code);
	call->error = NULL;
	(void)call_fail(call, code, code == POSTERN__V1__CODE__DEADLINE_EXCEEDED ? ETIMEDOUT : 0,
		"%s: %s; %s", method_rows[call->method].name, happened, in_words(outcome, why));
	if (call->error) {
		call->error->has_outcome = true;
		call->error->outcome = outcome;
	}
	return dispatch_error(call, -EIO);
}
