/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/job/grant.h"

#include "agent/methods/grant_message.h"

Postern__V1__Channel *grant_channel(struct call *call, struct port *port)
{
	struct grant grant;

	return port_grant(call->program, port, &grant) ? grant_message(call, &grant) : NULL;
}
