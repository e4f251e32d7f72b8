/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages taken and bytes left; statistics that a guest made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "host/vmm/balloon.h"
#include "host/vmm/vmm_kind.h"

#define MIB ((uint64_t)1 << 20)

static void pages_taken_become_bytes_left(void **state)
{
	(void)state;
	assert_int_equal(balloon_left(256 * MIB, 0), 256 * MIB);
	assert_int_equal(balloon_left(256 * MIB, 16384), 192 * MIB);
	assert_int_equal(balloon_left(256 * MIB, UINT64_MAX), 0);
	assert_int_equal(balloon_pages(256 * MIB, 192 * MIB), 16384);
	assert_int_equal(balloon_pages(256 * MIB, 256 * MIB), 0);
	assert_int_equal(balloon_pages(256 * MIB, UINT64_MAX), 0);
}

static void guest_is_left_enough_to_live(void **state)
{
	const struct vmm_kind *kind = vmm_kind_find("qemu");
	struct postern_error error = {0};
	uint64_t most = (256 - BALLOON_LEAST_MIB) * MIB / BALLOON_PAGE;

	(void)state;
	assert_int_equal(vmm_check_balloon(kind, 256 * MIB, most, NULL), 0);
	assert_int_equal(vmm_check_balloon(kind, 256 * MIB, most + 1, &error), -ERANGE);
	assert_int_equal(error.failure, POSTERN_USAGE);
	assert_int_equal(vmm_check_balloon(kind, 256 * MIB, UINT64_MAX, NULL), -ERANGE);
	assert_int_equal(vmm_check_balloon(kind, 256 * MIB, UINT64_MAX / 4096 + 2, NULL), -ERANGE);
	assert_int_equal(vmm_check_balloon(kind, 8 * MIB, 1, NULL), -ERANGE);
}

static void a_balloon_takes_whole_units(void **state)
{
	const struct vmm_kind *kind = vmm_kind_find("firecracker");
	struct postern_error error = {0};

	(void)state;
	assert_int_equal(vmm_check_balloon(kind, 256 * MIB, 256, NULL), 0);
	assert_int_equal(vmm_check_balloon(kind, 256 * MIB, 255, &error), -EINVAL);
	assert_int_equal(error.failure, POSTERN_USAGE);
}

static const uint64_t second = NSEC_PER_SEC;

static void a_balloon_on_its_way_is_not_stuck(void **state)
{
	struct balloon_watch watch;

	(void)state;
	balloon_watch_begin(&watch, 1000, 100 * second);
	assert_true(watch.going && !watch.stuck);
	/* However slowly it moves. */
	for (uint64_t i = 0; i < 100; i++) {
		balloon_watch_see(&watch, i, (100 + 9 * i) * second);
		assert_true(watch.going && !watch.stuck);
	}
	balloon_watch_see(&watch, 1000, 1000 * second);
	assert_true(!watch.going && !watch.stuck);
	/* There once, it may come and go as it likes. */
	balloon_watch_see(&watch, 0, 2000 * second);
	assert_true(!watch.going && !watch.stuck);
}

static void a_balloon_that_comes_no_nearer_is_stuck(void **state)
{
	struct balloon_watch watch;

	(void)state;
	balloon_watch_begin(&watch, 0, 100 * second);
	balloon_watch_see(&watch, 500, 100 * second);
	balloon_watch_see(&watch, 500, 110 * second - 1);
	assert_false(watch.stuck);
	balloon_watch_see(&watch, 500, 110 * second);
	assert_true(watch.going && watch.stuck);
	/* It moves: nearer counts, away and back does not. */
	balloon_watch_see(&watch, 499, 111 * second);
	assert_false(watch.stuck);
	balloon_watch_see(&watch, 600, 115 * second);
	balloon_watch_see(&watch, 499, 120 * second);
	assert_false(watch.stuck);
	balloon_watch_see(&watch, 550, 121 * second);
	assert_true(watch.stuck);
	/* A guest that stands still has its time again. */
	balloon_watch_hold(&watch, 130 * second);
	assert_false(watch.stuck);
	balloon_watch_see(&watch, 499, 139 * second);
	assert_false(watch.stuck);
	balloon_watch_see(&watch, 499, 140 * second);
	assert_true(watch.stuck);
	balloon_watch_see(&watch, 0, 141 * second);
	assert_true(!watch.going && !watch.stuck);
}

static void read_as(enum balloon_names names, const char *text, struct balloon_stats *stats)
{
	json_t *object = json_loads(text, 0, NULL);

	assert_non_null(object);
	balloon_read_stats(object, names, 256 * MIB, stats);
	json_decref(object);
}

static void read_stats(const char *text, struct balloon_stats *stats)
{
	read_as(BALLOON_QEMU, text, stats);
}

static void told_numbers_are_kept(void **state)
{
	struct balloon_stats stats = {0};

	(void)state;
	read_stats("{\"stat-free-memory\": 1000, \"stat-total-memory\": 2000, "
		   "\"stat-major-faults\": 3, \"stat-swap-in\": 0}",
		&stats);
	assert_int_equal(stats.values[BALLOON_FREE], 1000);
	assert_int_equal(stats.values[BALLOON_TOTAL], 2000);
	assert_int_equal(stats.values[BALLOON_MAJOR_FAULTS], 3);
	assert_int_equal(stats.values[BALLOON_SWAP_IN], 0);
	assert_true(stats.values[BALLOON_CACHES] == BALLOON_UNKNOWN);
}

static void what_cannot_be_is_unknown(void **state)
{
	struct balloon_stats stats = {0};

	(void)state;
	/* More free than there is; more total than the VM has; a negative; no number. */
	read_stats("{\"stat-free-memory\": 3000, \"stat-total-memory\": 2000}", &stats);
	assert_true(stats.values[BALLOON_FREE] == BALLOON_UNKNOWN);
	assert_int_equal(stats.values[BALLOON_TOTAL], 2000);
	read_stats("{\"stat-free-memory\": 5, \"stat-total-memory\": 9223372036854775807, "
		   "\"stat-swap-out\": -5, \"stat-disk-caches\": \"many\"}",
		&stats);
	assert_true(stats.values[BALLOON_TOTAL] == BALLOON_UNKNOWN);
	assert_int_equal(stats.values[BALLOON_FREE], 5);
	assert_true(stats.values[BALLOON_SWAP_OUT] == BALLOON_UNKNOWN);
	assert_true(stats.values[BALLOON_CACHES] == BALLOON_UNKNOWN);
	read_stats("{}", &stats);
	assert_true(stats.values[BALLOON_FREE] == BALLOON_UNKNOWN);
}

static void each_vmm_has_its_names(void **state)
{
	struct balloon_stats stats = {0};

	(void)state;
	read_as(BALLOON_FIRECRACKER,
		"{\"free_memory\": 1, \"total_memory\": 4, \"available_memory\": 2, "
		"\"disk_caches\": 3, \"swap_in\": 5, \"swap_out\": 6, \"major_faults\": 7, "
		"\"minor_faults\": 8, \"hugetlb_allocations\": 9, \"hugetlb_failures\": 10}",
		&stats);
	for (int i = 0; i < BALLOON_STATS; i++)
		assert_true(stats.values[i] != BALLOON_UNKNOWN);
	assert_int_equal(stats.values[BALLOON_AVAILABLE], 2);
	assert_int_equal(stats.values[BALLOON_HUGETLB_FAIL], 10);
}

static void json_there_and_back(void **state)
{
	struct balloon_stats stats = {.current_pages = 1, .requested_pages = 2}, back = {0};
	json_t *object;

	(void)state;
	for (int i = 0; i < BALLOON_STATS; i++)
		stats.values[i] = i % 2 ? BALLOON_UNKNOWN : (uint64_t)i * 10;
	object = balloon_stats_to_json(&stats);
	assert_true(json_is_null(json_object_get(object, "swap-out")));
	balloon_stats_from_json(object, &back);
	assert_memory_equal(&stats, &back, sizeof(stats));
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_taken_become_bytes_left),
		cmocka_unit_test(guest_is_left_enough_to_live),
		cmocka_unit_test(a_balloon_takes_whole_units),
		cmocka_unit_test(a_balloon_on_its_way_is_not_stuck),
		cmocka_unit_test(a_balloon_that_comes_no_nearer_is_stuck),
		cmocka_unit_test(told_numbers_are_kept),
		cmocka_unit_test(what_cannot_be_is_unknown),
		cmocka_unit_test(each_vmm_has_its_names),
		cmocka_unit_test(json_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
