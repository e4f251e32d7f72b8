/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What sysfs says of devices of one kind, read anew only when the kernel has told of a change of
 * any device since: it counts what it tells (/sys/kernel/uevent_seqnum, kernel
 * Documentation/ABI/testing/sysfs-kernel-uevents), and whatever takes a processor or a block of
 * memory into use or out of it is told.
 *
 * A process that answers one caller after another may keep this: what is in it follows from sysfs
 * alone, never from a request. Who asked before, and for what, cannot show in an answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/methods/call.h"

struct device_memo {
	struct arena arena; /* of the items */
	uint64_t uevents;   /* the count when they were read */
	bool valid;
	void *items; /* what read() made */
};

/* Reads the devices, with all memory of call->arena. 0; or -errno, as a handler returns it. */
typedef int (*device_read_fn)(struct call *call, void **ret_items);

/* The items that hold now: the memo's, until the next call. memo is zero at first. Without a count
 * of the kernel's they are read each time. 0, or -errno of read(). */
int device_memo_read(
	struct device_memo *memo, struct call *call, device_read_fn read, void **ret_items);
