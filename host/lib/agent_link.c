/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/agent_link.h"

#include "proto/cleanup.h"

void agent_link_closep(struct postern_client **client)
{
	postern_client_close(*client);
}

int agent_link_open(
	const char *name, struct postern_client **ret_client, struct postern_error *error)
{
	AUTO_FREE char *address = NULL;
	int r = postern_vm_address(name, &address, error);

	return r < 0 ? r : postern_client_open(address, NULL, ret_client, error);
}
