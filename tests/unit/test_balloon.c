/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages taken and bytes left; statistics that a guest made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "host/vmm/balloon.h"

#define MIB ((uint64_t)1 << 20)

static void pages_taken_become_bytes_left(void **state)
{
	uint64_t left = 0;

	(void)state;
	assert_int_equal(balloon_value(256 * MIB, 0, &left, NULL), 0);
	assert_int_equal(left, 256 * MIB);
	assert_int_equal(balloon_value(256 * MIB, 16384, &left, NULL), 0);
	assert_int_equal(left, 192 * MIB);
	assert_int_equal(balloon_pages(256 * MIB, left), 16384);
	assert_int_equal(balloon_pages(256 * MIB, 256 * MIB), 0);
	assert_int_equal(balloon_pages(256 * MIB, UINT64_MAX), 0);
}

static void guest_is_left_enough_to_live(void **state)
{
	struct postern_error error = {0};
	uint64_t left = 1, most = (256 - BALLOON_LEAST_MIB) * MIB / BALLOON_PAGE;

	(void)state;
	assert_int_equal(balloon_value(256 * MIB, most, &left, NULL), 0);
	assert_int_equal(left, BALLOON_LEAST_MIB * MIB);
	left = 1;
	assert_int_equal(balloon_value(256 * MIB, most + 1, &left, &error), -ERANGE);
	assert_int_equal(error.failure, POSTERN_USAGE);
	assert_int_equal(balloon_value(256 * MIB, UINT64_MAX, &left, NULL), -ERANGE);
	assert_int_equal(balloon_value(256 * MIB, UINT64_MAX / 4096 + 2, &left, NULL), -ERANGE);
	assert_int_equal(balloon_value(8 * MIB, 1, &left, NULL), -ERANGE);
	assert_int_equal(left, 1);
}

static json_int_t read_stats(const char *text, struct balloon_stats *stats)
{
	json_t *object = json_loads(text, 0, NULL);
	json_int_t at;

	assert_non_null(object);
	at = balloon_read_stats(object, 256 * MIB, stats);
	json_decref(object);
	return at;
}

static void told_numbers_are_kept(void **state)
{
	struct balloon_stats stats = {0};

	(void)state;
	assert_int_equal(read_stats("{\"last-update\": 12, \"stats\": {\"stat-free-memory\": 1000, "
				    "\"stat-total-memory\": 2000, \"stat-major-faults\": 3, "
				    "\"stat-swap-in\": 0}}",
				 &stats),
		12);
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
	(void)read_stats(
		"{\"stats\": {\"stat-free-memory\": 3000, \"stat-total-memory\": 2000}}", &stats);
	assert_true(stats.values[BALLOON_FREE] == BALLOON_UNKNOWN);
	assert_int_equal(stats.values[BALLOON_TOTAL], 2000);
	(void)read_stats(
		"{\"stats\": {\"stat-free-memory\": 5, \"stat-total-memory\": 9223372036854775807, "
		"\"stat-swap-out\": -5, \"stat-disk-caches\": \"many\"}}",
		&stats);
	assert_true(stats.values[BALLOON_TOTAL] == BALLOON_UNKNOWN);
	assert_int_equal(stats.values[BALLOON_FREE], 5);
	assert_true(stats.values[BALLOON_SWAP_OUT] == BALLOON_UNKNOWN);
	assert_true(stats.values[BALLOON_CACHES] == BALLOON_UNKNOWN);
	assert_int_equal(read_stats("{}", &stats), 0);
	assert_true(stats.values[BALLOON_FREE] == BALLOON_UNKNOWN);
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
		cmocka_unit_test(told_numbers_are_kept),
		cmocka_unit_test(what_cannot_be_is_unknown),
		cmocka_unit_test(json_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
