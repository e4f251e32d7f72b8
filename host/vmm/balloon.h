/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory balloon in pages of 4 KiB that it takes from the guest (virtio 1.2, 5.5). QMP speaks
 * of the memory that is left instead, in bytes.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"
#include "proto/clock.h"

#define BALLOON_PAGE      4096u
#define BALLOON_LEAST_MIB 24u /* what a guest is left at least; below, its kernel cannot live */
#define BALLOON_UNKNOWN   UINT64_MAX

/* In the order in which they are shown. */
enum balloon_stat {
	BALLOON_SWAP_IN,       /* bytes */
	BALLOON_SWAP_OUT,      /* bytes */
	BALLOON_MAJOR_FAULTS,  /* count */
	BALLOON_MINOR_FAULTS,  /* count */
	BALLOON_HUGETLB_ALLOC, /* count */
	BALLOON_HUGETLB_FAIL,  /* count */
	BALLOON_FREE,          /* bytes */
	BALLOON_TOTAL,         /* bytes */
	BALLOON_AVAILABLE,     /* bytes */
	BALLOON_CACHES,        /* bytes */
	BALLOON_STATS
};

struct balloon_stats {
	uint64_t current_pages;
	uint64_t requested_pages;
	uint64_t
		values[BALLOON_STATS]; /* BALLOON_UNKNOWN where the guest told nothing to believe */
};

/* The label of a statistic, "swap-in". */
const char *balloon_stat_name(enum balloon_stat stat);

/* Bytes that are left when so many pages are taken, and pages taken when `left` bytes are left;
 * what is beyond memory_bytes leaves, or takes, nothing. */
uint64_t balloon_left(uint64_t memory_bytes, uint64_t pages);
uint64_t balloon_pages(uint64_t memory_bytes, uint64_t left);

/* How a VMM names the statistics. */
enum balloon_names { BALLOON_QEMU, BALLOON_FIRECRACKER };

/*
 * Reads the statistics of an object with a number for each. The guest wrote them: what cannot be
 * (more memory than the VM has, more free than total) becomes BALLOON_UNKNOWN.
 */
void balloon_read_stats(const json_t *all, enum balloon_names names, uint64_t memory_bytes,
	struct balloon_stats *stats);

/* As an object by label, unknown ones null; and back. */
json_t *balloon_stats_to_json(const struct balloon_stats *stats);
void balloon_stats_from_json(const json_t *object, struct balloon_stats *ret_stats);

#define BALLOON_STUCK_NS (10 * NSEC_PER_SEC) /* without coming nearer */

/* A balloon on its way to what was asked for. All zero: none is. Times are CLOCK_MONOTONIC, ns. */
struct balloon_watch {
	bool going; /* it is not there yet */
	bool stuck; /* and does not come nearer */
	uint64_t wanted_pages;
	uint64_t distance; /* pages; the least that was left to go */
	uint64_t since;    /* no other was seen */
};

void balloon_watch_begin(struct balloon_watch *watch, uint64_t pages, uint64_t now);

/* What it has taken by now. */
void balloon_watch_see(struct balloon_watch *watch, uint64_t pages, uint64_t now);

/* The guest cannot move it now: its time begins anew. */
void balloon_watch_hold(struct balloon_watch *watch, uint64_t now);
