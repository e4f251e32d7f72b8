/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that is plugged into a running guest, block by block, and taken out again (virtio-mem,
 * virtio 1.2, 5.15). The guest decides how much of what it is asked for it plugs, and when. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#define MEMORY_UNKNOWN UINT64_MAX

/* Bytes; MEMORY_UNKNOWN where the VMM does not tell. */
struct memory_stats {
	uint64_t block_size;         /* what is plugged at a time */
	uint64_t region_size;        /* most that can be */
	uint64_t usable_region_size; /* most that the guest may plug now */
	uint64_t plugged_size;       /* what is */
	uint64_t requested_size;     /* what it was asked for */
};

enum { MEMORY_STATS = 5 };

/* The names in the order in which they are shown: "block_size". */
extern const char *const memory_stat_names[MEMORY_STATS];

/* The statistics as an array in that order. */
uint64_t *memory_stat(struct memory_stats *stats, int i);

/* As an object by name, unknown ones null; and back. */
json_t *memory_stats_to_json(const struct memory_stats *stats);
void memory_stats_from_json(const json_t *object, struct memory_stats *ret_stats);

/* What a VMM calls them, in the same order; NULL: it has none. In units of `unit` bytes. */
void memory_read_stats(const json_t *object, const char *const names[MEMORY_STATS], uint64_t unit,
	struct memory_stats *ret_stats);
