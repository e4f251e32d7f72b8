/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/grant_message.h"

Postern__V1__Channel *grant_message(struct call *call, const struct grant *grant)
{
	Postern__V1__Channel *channel = arena_alloc(call->arena, sizeof(*channel));

	if (!channel)
		return NULL;
	postern__v1__channel__init(channel);
	channel->has_number = channel->has_token = true;
	channel->number = grant->number;
	channel->token = call_bytes(call, grant->token, sizeof(grant->token));
	return channel->token.len ? channel : NULL;
}
