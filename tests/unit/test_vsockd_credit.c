/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* needs: host/vsockd */
/* Credit arithmetic, without a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/vsockd/credit.h"

static void window_is_what_is_left(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 1000, 0), 0);
	assert_int_equal(credit_window(&c), 1000);
	credit_sent(&c, 600);
	assert_int_equal(credit_window(&c), 400);
	assert_int_equal(credit_hear(&c, 1000, 600), 0);
	assert_int_equal(credit_window(&c), 1000);
}

static void shrunk_buffer_gives_no_credit(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 4096, 0), 0);
	credit_sent(&c, 4096);
	assert_int_equal(credit_hear(&c, 100, 0), 0);
	assert_int_equal(credit_window(&c), 0);
	assert_int_equal(credit_hear(&c, 0, 4096), 0);
	assert_int_equal(credit_window(&c), 0);
	assert_int_equal(credit_hear(&c, 1, 4096), 0);
	assert_int_equal(credit_window(&c), 1);
	assert_int_equal(credit_packets(&c), 1);
}

static void window_has_a_ceiling(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, UINT32_MAX, 0), 0);
	assert_int_equal(credit_window(&c), CREDIT_WINDOW_MAX);
	assert_int_equal(credit_packets(&c), CREDIT_PACKETS_MAX);
}

static void acknowledging_too_much_is_an_error(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 65536, 0), 0);
	credit_sent(&c, 10);
	assert_int_equal(credit_hear(&c, 65536, 11), -EPROTO);
	assert_int_equal(credit_hear(&c, 65536, 10), 0);
	assert_int_equal(credit_hear(&c, 65536, 0x7fffffff), -EPROTO);
}

static void stale_acknowledgement_changes_nothing(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 65536, 0), 0);
	credit_sent(&c, 300);
	assert_int_equal(credit_hear(&c, 65536, 200), 0);
	assert_int_equal(credit_hear(&c, 65536, 100), 0);
	assert_int_equal(credit_window(&c), 65536 - 100);
}

static void counters_wrap(void **state)
{
	struct credit c = {
		.tx_cnt = UINT32_MAX - 99, .peer_fwd_cnt = UINT32_MAX - 99, .peer_buf_alloc = 4096};

	(void)state;
	credit_sent(&c, 200);
	assert_int_equal(c.tx_cnt, 100);
	assert_int_equal(credit_window(&c), 4096 - 200);
	assert_int_equal(credit_hear(&c, 4096, 50), 0);
	assert_int_equal(credit_window(&c), 4096 - 50);
	assert_int_equal(credit_packets(&c), 3); /* the packet is not wholly read */
	assert_int_equal(credit_hear(&c, 4096, 100), 0);
	assert_int_equal(credit_packets(&c), 4);
}

static void packets_are_bounded_too(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 256 * 1024, 0), 0);
	for (unsigned i = 0; i < 256; i++) {
		assert_int_equal(credit_packets(&c), 256 - i);
		credit_sent(&c, 1);
	}
	assert_int_equal(credit_packets(&c), 0);
	assert_int_equal(credit_hear(&c, 256 * 1024, 7), 0);
	assert_int_equal(credit_packets(&c), 7);
	for (unsigned i = 0; i < 7; i++)
		credit_sent(&c, 1);
	assert_int_equal(credit_hear(&c, 256 * 1024, 263), 0);
	assert_int_equal(credit_packets(&c), 256);
}

static void small_buffer_allows_one_packet(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 128, 0), 0);
	assert_int_equal(credit_packets(&c), 1);
	credit_sent(&c, 1);
	assert_int_equal(credit_packets(&c), 0);
}

static void little_room_waits_for_more(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_hear(&c, 65536, 0), 0);
	assert_int_equal(credit_worthwhile(&c), 65536);
	credit_sent(&c, 65000);
	assert_int_equal(credit_window(&c), 536);
	assert_int_equal(credit_worthwhile(&c), 0);
	assert_int_equal(credit_hear(&c, 65536, 4096), 0);
	assert_int_equal(credit_worthwhile(&c), 4632);
	/* Nothing in flight: no acknowledgement will come, so any room is used. */
	assert_int_equal(credit_hear(&c, 64, 65000), 0);
	assert_int_equal(credit_worthwhile(&c), 64);
}

static void guest_is_held_to_what_it_was_told(void **state)
{
	struct credit c = {0};

	(void)state;
	assert_int_equal(credit_take(&c, CREDIT_BUF_ALLOC - 1), 0);
	assert_int_equal(credit_take(&c, 2), -ENOBUFS);
	assert_int_equal(credit_take(&c, 1), 0);
	assert_int_equal(credit_take(&c, 1), -ENOBUFS);
	c.fwd_cnt = CREDIT_BUF_ALLOC; /* handed on, but the guest does not know */
	assert_int_equal(credit_take(&c, 1), -ENOBUFS);
	assert_true(credit_owed(&c));
	c.told_fwd_cnt = c.fwd_cnt;
	assert_false(credit_owed(&c));
	assert_int_equal(credit_take(&c, CREDIT_BUF_ALLOC), 0);
	assert_int_equal(credit_take(&c, UINT32_MAX), -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_is_what_is_left),
		cmocka_unit_test(shrunk_buffer_gives_no_credit),
		cmocka_unit_test(window_has_a_ceiling),
		cmocka_unit_test(acknowledging_too_much_is_an_error),
		cmocka_unit_test(stale_acknowledgement_changes_nothing),
		cmocka_unit_test(counters_wrap),
		cmocka_unit_test(packets_are_bounded_too),
		cmocka_unit_test(small_buffer_allows_one_packet),
		cmocka_unit_test(little_room_waits_for_more),
		cmocka_unit_test(guest_is_held_to_what_it_was_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
