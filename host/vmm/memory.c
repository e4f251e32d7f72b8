/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/memory.h"

#include "host/common/json_line.h"

const char *const memory_stat_names[MEMORY_STATS] = {
	"block_size", "region_size", "usable_region_size", "plugged_size", "requested_size"};

uint64_t *memory_stat(struct memory_stats *stats, int i)
{
	uint64_t *const all[MEMORY_STATS] = {&stats->block_size, &stats->region_size,
		&stats->usable_region_size, &stats->plugged_size, &stats->requested_size};

	return all[i];
}

json_t *memory_stats_to_json(const struct memory_stats *stats)
{
	struct memory_stats copy = *stats;
	json_t *object = json_object();

	for (int i = 0; i < MEMORY_STATS; i++) {
		uint64_t value = *memory_stat(&copy, i);

		(void)json_object_set_new(object, memory_stat_names[i],
			value > INT64_MAX ? json_null() : json_integer((json_int_t)value));
	}
	return object;
}

void memory_stats_from_json(const json_t *object, struct memory_stats *ret_stats)
{
	memory_read_stats(object, memory_stat_names, 1, ret_stats);
}

void memory_read_stats(const json_t *object, const char *const names[MEMORY_STATS], uint64_t unit,
	struct memory_stats *ret_stats)
{
	for (int i = 0; i < MEMORY_STATS; i++) {
		json_int_t value = names[i] ? json_field_int(object, names[i], -1) : -1;
		bool known = value >= 0 && (uint64_t)value <= INT64_MAX / unit;

		*memory_stat(ret_stats, i) = known ? (uint64_t)value * unit : MEMORY_UNKNOWN;
	}
}
