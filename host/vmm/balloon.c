/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/balloon.h"

#include "host/common/json_line.h"
#include "proto/cleanup.h"

static const struct {
	const char *label;
	const char *names[2]; /* QEMU's, Firecracker's */
	bool memory;          /* cannot be more than the VM has */
} stat_names[BALLOON_STATS] = {
	[BALLOON_SWAP_IN] = {"swap-in", {"stat-swap-in", "swap_in"}, false},
	[BALLOON_SWAP_OUT] = {"swap-out", {"stat-swap-out", "swap_out"}, false},
	[BALLOON_MAJOR_FAULTS] = {"major-faults", {"stat-major-faults", "major_faults"}, false},
	[BALLOON_MINOR_FAULTS] = {"minor-faults", {"stat-minor-faults", "minor_faults"}, false},
	[BALLOON_HUGETLB_ALLOC] = {"hugetlb-allocations",
		{"stat-htlb-pgalloc", "hugetlb_allocations"}, false},
	[BALLOON_HUGETLB_FAIL] = {"hugetlb-failures", {"stat-htlb-pgfail", "hugetlb_failures"},
		false},
	[BALLOON_FREE] = {"free-memory", {"stat-free-memory", "free_memory"}, true},
	[BALLOON_TOTAL] = {"total-memory", {"stat-total-memory", "total_memory"}, true},
	[BALLOON_AVAILABLE] = {"available-memory", {"stat-available-memory", "available_memory"},
		true},
	[BALLOON_CACHES] = {"disk-caches", {"stat-disk-caches", "disk_caches"}, true},
};

const char *balloon_stat_name(enum balloon_stat stat)
{
	return stat_names[stat].label;
}

uint64_t balloon_left(uint64_t memory_bytes, uint64_t pages)
{
	return pages > memory_bytes / BALLOON_PAGE ? 0 : memory_bytes - pages * BALLOON_PAGE;
}

uint64_t balloon_pages(uint64_t memory_bytes, uint64_t left)
{
	return left >= memory_bytes ? 0 : (memory_bytes - left) / BALLOON_PAGE;
}

void balloon_read_stats(const json_t *all, enum balloon_names names, uint64_t memory_bytes,
	struct balloon_stats *stats)
{
	uint64_t total;

	for (int i = 0; i < BALLOON_STATS; i++) {
		/* QEMU shows "not told" as 2^64-1; as a JSON integer that is -1 or too large. */
		json_int_t value = json_field_int(all, stat_names[i].names[names], -1);

		stats->values[i] = value < 0 ? BALLOON_UNKNOWN : (uint64_t)value;
		if (stat_names[i].memory && stats->values[i] > memory_bytes)
			stats->values[i] = BALLOON_UNKNOWN;
	}
	total = stats->values[BALLOON_TOTAL];
	for (int i = 0; i < BALLOON_STATS; i++)
		if (stat_names[i].memory && stats->values[i] > total)
			stats->values[i] = BALLOON_UNKNOWN;
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

void balloon_watch_begin(struct balloon_watch *watch, uint64_t pages, uint64_t now)
{
	*watch = (struct balloon_watch){
		.going = true, .wanted_pages = pages, .distance = UINT64_MAX, .since = now};
}

void balloon_watch_see(struct balloon_watch *watch, uint64_t pages, uint64_t now)
{
	uint64_t distance = pages > watch->wanted_pages ? pages - watch->wanted_pages
							: watch->wanted_pages - pages;

	if (!watch->going)
		return;
	/* One that goes back and forth, as a guest without memory has it do, comes no nearer. */
	if (distance < watch->distance) {
		watch->distance = distance;
		watch->since = now;
	}
	watch->going = distance > 0;
	watch->stuck = watch->going && now - watch->since >= BALLOON_STUCK_NS;
}

void balloon_watch_hold(struct balloon_watch *watch, uint64_t now)
{
	watch->since = now;
	watch->stuck = false;
}
