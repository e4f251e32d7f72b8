/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stays as it is while a disk is there: where it hangs, what it calls itself. A process that
 * answers one caller after the other keeps it until the kernel tells of a change of any device: it
 * counts what it tells (/sys/kernel/uevent_seqnum). Nothing of a request is in it.
 *
 * What comes or changes is told when it is done, so whoever reads in the midst of it reads again
 * (device_add() of drivers/base/core.c; kobject_uevent() of KOBJ_CHANGE in loop, dm, md). What goes
 * is told just before (device_del()): its numbers tell that it has gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/methods/call.h"
#include "messages.h"

/* Numbers that may change without a word of the kernel's. */
enum disk_number {
	DISK_SIZE, /* in units of 512 bytes, whatever the disk's own */
	DISK_READ_ONLY,
	DISK_BLOCK_SIZE,
	DISK_ROTATIONAL,
	DISK_NUMBERS,
};

struct disk_facts {
	const char *name;       /* in /sys/class/block */
	const char *link;       /* what it leads to there */
	const char *uuid;       /* device mapper's, or md's; NULL: none */
	Postern__V1__Disk disk; /* what follows from these and the disk's own names; else empty */
	bool is_hidden;         /* one of several ways to a disk, which nobody can open */
	int fds[DISK_NUMBERS];  /* where these stand, when few disks are there; else -EBADF */
};

/*
 * The facts of all disks and partitions, by name, in the call's arena; partitions behind their
 * disk. Nothing is kept open. block: /sys/class/block (borrowed). 0 or -errno.
 */
int disk_facts_read(struct call *call, int block, struct disk_facts **ret, size_t *ret_n);

/* What a reader keeps of them. */
struct disk_memo {
	uint64_t uevents; /* the kernel's count before the facts were read; 0: not known */
	struct arena arena;
	struct disk_facts *facts;
	size_t n;
};

/*
 * Brings them up to date. memo is zero at first; block: /sys/class/block (borrowed, and the same
 * every time). The facts are the memo's and hold until the next call. 0, or -errno with no facts.
 */
int disk_memo_read(struct disk_memo *memo, struct call *call, int block);

/* Frees it; it is zero again. */
void disk_memo_clear(struct disk_memo *memo);

/* One of its numbers as it is now, 0 where the kernel says nothing; -ENODEV: the disk is gone. */
int64_t disk_facts_number(const struct disk_facts *facts, int block, enum disk_number number);
