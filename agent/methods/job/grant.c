/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/job/grant.h"

Postern__V1__Channel *grant_channel(struct call *call, struct port *port)
{
	struct job_process *job = call->program;
	Postern__V1__Channel *channel = arena_alloc(call->arena, sizeof(*channel));
	struct grant grant;

	if (!channel || !port_grant(job, port, &grant))
		return NULL;
	postern__v1__channel__init(channel);
	channel->has_number = channel->has_token = true;
	channel->number = grant.number;
	channel->token = call_bytes(call, grant.token, sizeof(grant.token));
	return channel->token.len ? channel : NULL;
}
