/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

struct holders {
	Postern__V1__Holder **list; /* in the arena */
	size_t n;
	uint32_t more; /* left out since there are more than fit the answer */
};

/*
 * Who keeps this mount busy: processes by the mount ids of their descriptors and by the device
 * number of their mappings, the kernel by nested mounts, loop devices and swap, other mount
 * namespaces by their tables. Reads /proc and /sys only, never the file system itself. What is left
 * out for want of room is counted. 0, or -errno with what was found until then.
 */
int holders_find(struct call *call, const Postern__V1__MountEntry *mount, struct holders *ret);

/* "sleep (pid 12) has /mnt/a open" and how many others, into text[0..size). */
void holders_in_words(const struct holders *holders, char *text, size_t size);
