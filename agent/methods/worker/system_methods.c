/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

static int describe(struct call *call, enum method i, Postern__V1__Method *method)
{
	const struct method_row *row = &method_rows[i];
	const struct verdict *verdict = &call->verdicts->method[i];
	char reason[256];

	postern__v1__method__init(method);
	method->name = (char *)row->name;
	method->summary = (char *)row->summary;
	method->has_mutating = method->has_streaming = true;
	method->mutating = (row->flags & MUTATING) != 0;
	method->streaming = (row->flags & STREAMING) != 0;
	method->has_default_timeout_ms = method->has_max_timeout_ms = true;
	method->default_timeout_ms = row->default_ms;
	method->max_timeout_ms = row->max_ms;
	method->has_availability = true;
	if (!verdict->allowed) {
		method->availability = POSTERN__V1__AVAILABILITY__DENIED;
		method->reason = verdict->rule[0]
					 ? arena_printf(call->arena, "denied by %s", verdict->rule)
					 : (char *)"no rule allows it";
		return method->reason ? 0 : -ENOMEM;
	}
	method->availability = handlers[i].needs(reason, sizeof(reason));
	if (method->availability != POSTERN__V1__AVAILABILITY__AVAILABLE)
		method->reason = arena_strdup(call->arena, reason);
	else if (verdict->allowed == ALLOWED_BY_PARAMETERS)
		method->reason = (char *)"with the parameters that the policy's rules ask for";
	else
		return 0;
	return method->reason ? 0 : -ENOMEM;
}

int system_methods(struct call *call, const Postern__V1__SystemMethodsRequest *request,
	Postern__V1__SystemMethodsReply *reply)
{
	(void)request;
	reply->methods = arena_alloc(call->arena, METHOD_COUNT * sizeof(*reply->methods));
	if (!reply->methods)
		return -ENOMEM;
	for (int i = 0; i < METHOD_COUNT; i++) {
		Postern__V1__Method *method = arena_alloc(call->arena, sizeof(*method));
		int r = method ? describe(call, (enum method)i, method) : -ENOMEM;

		if (r < 0)
			return r;
		reply->methods[reply->n_methods++] = method;
	}
	return 0;
}
