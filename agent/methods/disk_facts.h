/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stays as it is while a disk is there: where it hangs, what it calls itself. A process that
 * answers one caller after the other keeps it until the kernel tells of a change of any device: it
 * counts what it tells (/sys/kernel/uevent_seqnum). Nothing of a request is in it.
 */
#pragma once

#include <stddef.h>

#include "agent/methods/call.h"
#include "messages.h"

struct disk_facts {
	const char *name;       /* in /sys/class/block */
	const char *link;       /* what it leads to there */
	const char *uuid;       /* device mapper's, or md's; NULL: none */
	Postern__V1__Disk disk; /* what follows from these and the disk's own names; else empty */
	bool is_hidden;         /* one of several ways to a disk, which nobody can open */
};

/*
 * The facts of all disks and partitions, by name; partitions behind their disk. block:
 * /sys/class/block (borrowed). They hold until the next call. 0, or -errno.
 */
int disk_facts_read(struct call *call, int block, const struct disk_facts **ret, size_t *ret_n);
