/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a guest's balloon is followed: steps, bounds, and whose word counts. */
/* needs: host/cli/balloon_rule.c */
#include "tests/unit/unit.h"

#include "host/cli/balloon_rule.h"

#define MIB (UINT64_C(1) << 20)

static struct balloon_rule rule;
static struct balloon_view view;

static void begin(void)
{
	rule = (struct balloon_rule){.bounds = {1024 * MIB, 256 * MIB, 1024 * MIB, 20}};
	view = (struct balloon_view){.now_ms = 1000000,
		.left = 1024 * MIB,
		.guest_available = 800 * MIB,
		.host_available = 10,
		.heard = true};
}

static uint64_t step(void)
{
	return 1024 * MIB / 20 / 4096 * 4096;
}

/* The guest follows at once, and time goes by. */
static enum balloon_reason next(uint64_t ms)
{
	enum balloon_reason reason;

	view.now_ms += ms;
	reason = balloon_rule_next(&rule, &view);
	view.left = rule.target;
	view.pressure = 0;
	return reason;
}

UNIT(memory_is_taken_in_steps_down_to_the_floor)
{
	unsigned taken = 0;

	begin();
	assert_int_equal(next(0), BALLOON_TAKEN);
	assert_int_equal(rule.target, 1024 * MIB - step());
	assert_int_equal(next(5000), BALLOON_KEPT); /* the last one shows first */
	while (taken < 100 && next(10000) == BALLOON_TAKEN)
		taken++;
	assert_int_equal(rule.target, 256 * MIB);
	assert_in_range(taken, 13, 16);
}

UNIT(nothing_is_taken_from_who_cannot_be_heard)
{
	begin();
	view.heard = false;
	assert_int_equal(next(60000), BALLOON_KEPT);
	assert_int_equal(rule.target, 1024 * MIB);
}

UNIT(nothing_is_taken_while_the_host_has_enough)
{
	begin();
	view.host_available = 20;
	assert_int_equal(next(60000), BALLOON_KEPT);
	view.guest_available = 1000 * MIB; /* whatever the guest says */
	assert_int_equal(next(60000), BALLOON_KEPT);
}

UNIT(a_guest_that_needs_it_keeps_it)
{
	begin();
	view.guest_available = step();
	assert_int_equal(next(60000), BALLOON_KEPT);
	view.guest_available = BALLOON_UNKNOWN_BYTES;
	assert_int_equal(next(60000), BALLOON_TAKEN);
}

UNIT(pressure_gives_back_and_quiet_is_waited_for)
{
	begin();
	(void)next(0);
	(void)next(10000);
	(void)next(10000);
	assert_int_equal(rule.target, 1024 * MIB - 3 * step());
	view.pressure = 1;
	assert_int_equal(next(2000), BALLOON_GIVEN);
	assert_int_equal(rule.target, 1024 * MIB - 2 * step());
	assert_int_equal(next(29000), BALLOON_KEPT);
	assert_int_equal(next(1000), BALLOON_TAKEN);
	view.pressure = 2;
	assert_int_equal(next(2000), BALLOON_GIVEN);
	assert_int_equal(rule.target, 1024 * MIB - step());
	view.pressure = 2;
	assert_int_equal(next(2000), BALLOON_GIVEN);
	assert_int_equal(rule.target, 1024 * MIB);
	view.pressure = 2;
	assert_int_equal(next(2000), BALLOON_KEPT); /* no more than all */
}

UNIT(a_flood_of_pressure_gives_once_a_second)
{
	begin();
	rule.target = view.left = 256 * MIB;
	for (int i = 0; i < 20; i++) {
		view.pressure = 1;
		(void)next(100);
	}
	assert_in_range(rule.target, 256 * MIB + step(), 256 * MIB + 3 * step());
}

UNIT(a_host_without_memory_gives_none)
{
	begin();
	rule.target = view.left = 512 * MIB;
	view.host_available = 4;
	view.pressure = 2;
	assert_int_equal(next(2000), BALLOON_HOST_FULL);
	assert_int_equal(rule.target, 512 * MIB);
	assert_int_equal(next(20000), BALLOON_KEPT); /* and takes none from who waits */
}

UNIT(the_bounds_are_kept_whatever_the_host_has)
{
	begin();
	view.host_available = 90;
	rule.bounds.ceiling = 900 * MIB;
	while (next(10000) == BALLOON_BOUNDS)
		;
	assert_int_equal(rule.target, 900 * MIB);
	rule.bounds.floor = rule.bounds.ceiling = 1000 * MIB;
	assert_int_equal(next(10000), BALLOON_BOUNDS);
	assert_int_equal(rule.target, 1000 * MIB);
}

UNIT(what_does_not_come_about_is_waited_for)
{
	begin();
	(void)next(0);
	view.left = 1024 * MIB + step(); /* the guest's driver does nothing */
	view.now_ms += 60000;
	assert_int_equal(balloon_rule_next(&rule, &view), BALLOON_KEPT);
}

/* Whatever is said, the guest is left with no less than the floor and no more than it has. */
UNIT(random_views_stay_within_bounds)
{
	struct dice dice = dice_new(__func__);

	begin();
	for (int i = 0; i < 100000; i++) {
		view.now_ms += dice_below(&dice, 20000);
		view.left = dice_below(&dice, 1025) * MIB;
		view.guest_available = dice_below(&dice, 3) ? dice_below(&dice, 1 << 19) * 4096
							    : BALLOON_UNKNOWN_BYTES;
		view.host_available = (unsigned)dice_below(&dice, 101);
		view.pressure = (unsigned)dice_below(&dice, 3);
		view.heard = dice_below(&dice, 2);
		if (i == 0)
			rule.target = 512 * MIB;
		(void)balloon_rule_next(&rule, &view);
		assert_in_range(rule.target, 256 * MIB, 1024 * MIB);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(memory_is_taken_in_steps_down_to_the_floor),
		RUN(nothing_is_taken_from_who_cannot_be_heard),
		RUN(nothing_is_taken_while_the_host_has_enough),
		RUN(a_guest_that_needs_it_keeps_it),
		RUN(pressure_gives_back_and_quiet_is_waited_for),
		RUN(a_flood_of_pressure_gives_once_a_second),
		RUN(a_host_without_memory_gives_none),
		RUN(the_bounds_are_kept_whatever_the_host_has),
		RUN(what_does_not_come_about_is_waited_for),
		RUN(random_views_stay_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
