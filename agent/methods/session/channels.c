/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/methods/prototypes.h"
#include "agent/session/session.h"

static Postern__V1__ChannelState *describe(struct call *call, const struct channel_facts *facts)
{
	Postern__V1__ChannelState *state = arena_alloc(call->arena, sizeof(*state));

	if (!state)
		return NULL;
	postern__v1__channel_state__init(state);
	state->has_number = state->has_open = state->has_age_ms = true;
	state->number = facts->number;
	state->open = facts->open;
	state->age_ms = facts->age_ms;
	if (facts->method < METHOD_COUNT)
		state->method = (char *)method_rows[facts->method].name;
	state->has_job = facts->job != 0;
	state->job = facts->job;
	state->has_from_caller = state->has_to_caller = true;
	state->from_caller = facts->from_caller;
	state->to_caller = facts->to_caller;
	return state;
}

int channels_list(struct call *call, const Postern__V1__ChannelsListRequest *request,
	Postern__V1__ChannelsListReply *reply)
{
	const struct channel_facts *facts;
	const struct told *told;
	size_t n;
	int r = session_ask(call, 0, &told);

	(void)request;
	if (r < 0)
		return r;
	facts = told->body;
	n = told->len / sizeof(*facts);
	reply->channels = arena_alloc(call->arena, (n + 1) * sizeof(*reply->channels));
	if (!reply->channels)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		reply->channels[i] = describe(call, &facts[i]);
		if (!reply->channels[i])
			return -ENOMEM;
		reply->n_channels++;
	}
	return 0;
}

int channels_kill(struct call *call, const Postern__V1__ChannelsKillRequest *request,
	Postern__V1__ChannelsKillReply *reply)
{
	const struct told *told;
	int r = session_ask(call, request->number, &told);

	(void)reply;
	if (r < 0 || told->error == 0)
		return r;
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, told->error,
		"no such channel of this caller; channels.list has them");
}
