/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection to the agent of a machine, for what the library does in a guest itself. */
#pragma once

#include "host/lib/postern.h"

/* Connects by the name of a VM; blocks as postern_client_open(). 0 with *ret_client, the caller's,
 * or -errno with *error. */
int agent_link_open(
	const char *name, struct postern_client **ret_client, struct postern_error *error);

/* Cleanup function. */
void agent_link_closep(struct postern_client **client);
