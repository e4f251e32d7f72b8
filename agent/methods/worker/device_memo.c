/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/device_memo.h"

#include <errno.h>

#include "agent/methods/sysfs.h"
#include "proto/limits.h"

int device_memo_read(
	struct device_memo *memo, struct call *call, device_read_fn read, void **ret_items)
{
	struct arena *own = call->arena;
	uint64_t uevents = 0;
	/* Before the devices: what is told meanwhile counts for the next time. */
	int counted = sysfs_number(10, &uevents, "/sys/kernel/uevent_seqnum"), r;

	*ret_items = memo->items;
	if (memo->valid && counted == 0 && uevents == memo->uevents)
		return 0;
	arena_done(&memo->arena);
	arena_init(&memo->arena, ARENA_REQUEST_MAX);
	call->arena = &memo->arena;
	r = read(call, &memo->items);
	call->arena = own;
	memo->uevents = uevents;
	memo->valid = r == 0 && counted == 0;
	*ret_items = memo->items;
	return r;
}
