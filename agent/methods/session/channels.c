/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/methods/prototypes.h"
#include "agent/session/ride.h"

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
	int r = session_ask(call, 0, 0, &told);

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

int channels_open(struct call *call, const Postern__V1__ChannelsOpenRequest *request,
	Postern__V1__ChannelsOpenReply *reply)
{
	struct session *session = call->program;
	const struct told *told;
	struct ride *ride;
	int r;

	if (!session->told && request->token.len != TOKEN_SIZE)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"token: expected %d bytes", TOKEN_SIZE);
	r = ride_open(call, request->token.data, request->credit, &told);
	if (r == -EUSERS)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, EUSERS,
			"%d channels ride on this connection already", RIDES_MAX);
	if (r < 0)
		return r;
	ride = ride_opened(session, call->id, told);
	if (!ride)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, told->error,
			"nobody granted this token to this caller, or it is late");
	reply->has_channel = reply->has_credit = true;
	reply->channel = ride_number(ride);
	reply->credit = RIDE_WINDOW;
	return 0;
}

int channels_kill(struct call *call, const Postern__V1__ChannelsKillRequest *request,
	Postern__V1__ChannelsKillReply *reply)
{
	const struct told *told;
	int r = session_ask(call, request->number, 0, &told);

	(void)reply;
	if (r < 0 || told->error == 0)
		return r;
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, told->error,
		"no such channel of this caller; channels.list has them");
}
