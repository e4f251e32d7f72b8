/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/balloon.h"

#include <errno.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"

static const struct {
	const char *label;
	const char *qemu;
	bool memory; /* cannot be more than the VM has */
} stat_names[BALLOON_STATS] = {
	[BALLOON_SWAP_IN] = {"swap-in", "stat-swap-in", false},
	[BALLOON_SWAP_OUT] = {"swap-out", "stat-swap-out", false},
	[BALLOON_MAJOR_FAULTS] = {"major-faults", "stat-major-faults", false},
	[BALLOON_MINOR_FAULTS] = {"minor-faults", "stat-minor-faults", false},
	[BALLOON_HUGETLB_ALLOC] = {"hugetlb-allocations", "stat-htlb-pgalloc", false},
	[BALLOON_HUGETLB_FAIL] = {"hugetlb-failures", "stat-htlb-pgfail", false},
	[BALLOON_FREE] = {"free-memory", "stat-free-memory", true},
	[BALLOON_TOTAL] = {"total-memory", "stat-total-memory", true},
	[BALLOON_AVAILABLE] = {"available-memory", "stat-available-memory", true},
	[BALLOON_CACHES] = {"disk-caches", "stat-disk-caches", true},
};

const char *balloon_stat_name(enum balloon_stat stat)
{
	return stat_names[stat].label;
}

int balloon_value(
	uint64_t memory_bytes, uint64_t pages, uint64_t *ret_value, struct postern_error *error)
{
	uint64_t least = (uint64_t)BALLOON_LEAST_MIB << 20;
	uint64_t most = memory_bytes > least ? (memory_bytes - least) / BALLOON_PAGE : 0;

	if (pages > most)
		return fail(error, POSTERN_USAGE, ERANGE,
			"the balloon can take at most %llu pages: %u MiB are left to the guest",
			(unsigned long long)most, BALLOON_LEAST_MIB);
	*ret_value = memory_bytes - pages * BALLOON_PAGE;
	return 0;
}

uint64_t balloon_pages(uint64_t memory_bytes, uint64_t left)
{
	return left >= memory_bytes ? 0 : (memory_bytes - left) / BALLOON_PAGE;
}

json_int_t balloon_read_stats(
	const json_t *guest_stats, uint64_t memory_bytes, struct balloon_stats *stats)
{
	const json_t *all = json_object_get(guest_stats, "stats");
	uint64_t total;

	for (int i = 0; i < BALLOON_STATS; i++) {
		/* QEMU shows "not told" as 2^64-1; as a JSON integer that is -1 or too large. */
		json_int_t value = json_field_int(all, stat_names[i].qemu, -1);

		stats->values[i] = value < 0 ? BALLOON_UNKNOWN : (uint64_t)value;
		if (stat_names[i].memory && stats->values[i] > memory_bytes)
			stats->values[i] = BALLOON_UNKNOWN;
	}
	total = stats->values[BALLOON_TOTAL];
	for (int i = 0; i < BALLOON_STATS; i++)
		if (stat_names[i].memory && stats->values[i] > total)
			stats->values[i] = BALLOON_UNKNOWN;
	return json_field_int(guest_stats, "last-update", 0);
}

static json_t *number(uint64_t value)
{
	return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

json_t *balloon_stats_to_json(const struct balloon_stats *stats)
{
	json_t *object = json_object();

	(void)json_object_set_new(object, "current-pages", number(stats->current_pages));
	(void)json_object_set_new(object, "requested-pages", number(stats->requested_pages));
	for (int i = 0; i < BALLOON_STATS; i++)
		(void)json_object_set_new(object, stat_names[i].label, number(stats->values[i]));
	return object;
}

static uint64_t number_from(const json_t *object, const char *label)
{
	json_int_t value = json_field_int(object, label, -1);

	return value < 0 ? BALLOON_UNKNOWN : (uint64_t)value;
}

void balloon_stats_from_json(const json_t *object, struct balloon_stats *ret_stats)
{
	ret_stats->current_pages = number_from(object, "current-pages");
	ret_stats->requested_pages = number_from(object, "requested-pages");
	for (int i = 0; i < BALLOON_STATS; i++)
		ret_stats->values[i] = number_from(object, stat_names[i].label);
}
