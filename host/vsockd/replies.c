/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/replies.h"

#include <errno.h>
#include <stdlib.h>

int replies_init(struct replies *replies, unsigned max_flows)
{
	*replies = (struct replies){.size = REPLIES_PAUSE + max_flows};
	replies->entries = calloc(replies->size, sizeof(struct reply));
	return replies->entries ? 0 : -ENOMEM;
}

void replies_done(struct replies *replies)
{
	free(replies->entries);
	*replies = (struct replies){0};
}

void replies_push(struct replies *replies, uint32_t guest_port, uint32_t host_port, uint16_t type)
{
	unsigned at = (replies->head + replies->count) % replies->size;

	if (replies->count == replies->size)
		return;
	replies->entries[at] = (struct reply){guest_port, host_port, type};
	replies->count++;
}

bool replies_pop(struct replies *replies, struct reply *ret_reply)
{
	if (replies->count == 0)
		return false;
	*ret_reply = replies->entries[replies->head];
	replies->head = (replies->head + 1) % replies->size;
	replies->count--;
	return true;
}

void replies_clear(struct replies *replies)
{
	replies->head = 0;
	replies->count = 0;
}
