/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's disks as the guest sees them, told apart by their serial numbers. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/lib/postern.h"

/* What is looked for. */
struct disk_wish {
	const char *serial;
	uint32_t partition; /* of it; 0: the disk itself */
	uint64_t bytes;     /* the disk's size; 0: any */
	bool filesystem;    /* that the guest knows what is on it, as its udev finds out after a
			       while */
};

/* What a look found: answer is a new reference that the others are within. */
struct disk_seen {
	json_t *answer;     /* of disks.list_disks */
	const json_t *disk; /* NULL: there is none with that serial number */
	const json_t *part; /* the partition that was asked for, or the disk itself; NULL as well */
};

void disk_seen_done(struct disk_seen *seen);

/* Looks once, for the disk and the partition only. 0 or -errno with *error; *ret is the caller's in
 * any case. */
int disk_look_in_guest(struct postern_client *client, const struct disk_wish *wish,
	struct disk_seen *ret, struct postern_error *error);

/*
 * Looks until all that is wished for is so. Blocks for timeout_ms at most. -ETIMEDOUT then, with
 * *error that tells what was seen; else as disk_look_in_guest().
 */
int disk_wait_in_guest(struct postern_client *client, const struct disk_wish *wish,
	uint32_t timeout_ms, struct disk_seen *ret, struct postern_error *error);

/* Fails as disk_wait_in_guest() does, where the guest itself has waited for timeout_ms: looks once,
 * and puts what is seen in place of what *error has. -ETIMEDOUT, or another -errno. */
int disk_fail_unseen(struct postern_client *client, const struct disk_wish *wish,
	uint32_t timeout_ms, struct postern_error *error);
