/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moments as people type them. */
/* needs: host/cli/log_time.c */
#include "tests/unit/unit.h"

#include "host/cli/log_time.h"
#include "proto/cleanup.h"

#define NOW 1795362127 /* 2026-11-22 15:42:07 UTC */

static void expect(const char *text, int64_t s)
{
	int64_t us = -1;

	if (parse_moment(text, NOW, &us) < 0)
		fail_msg("%s", text);
	if (us != s * 1000000)
		fail_msg("%s: %lld", text, (long long)us);
}

UNIT(moments_of_all_forms)
{
	expect("2026-11-22 15:42:07", NOW);
	expect("2026-11-22T15:42:07", NOW);
	expect("2026-11-22 15:42", NOW - 7);
	expect("2026-11-22", NOW - 7 - 42 * 60 - 15 * 3600);
	expect("today", NOW - 7 - 42 * 60 - 15 * 3600);
	expect("yesterday", NOW - 7 - 42 * 60 - 39 * 3600);
	expect("15:42:07", NOW);
	expect("00:00", NOW - 7 - 42 * 60 - 15 * 3600);
	expect("now", NOW);
	expect("-1h", NOW - 3600);
	expect("1h ago", NOW - 3600);
	expect("90 ago", NOW - 90);
	expect("-2d", NOW - 2 * 86400);
	expect("@1700000000", 1700000000);
	expect("@0", 0);
}

UNIT(what_is_no_moment)
{
	static const char *const rows[] = {"", "soon", "2026", "2026-13-01", "2026-11-22 25:00",
		"2026-11-22 15:42:07 and more", "1h", "-", "-x", " ago", "@", "@-1", "@1.5",
		"@99999999999999999999", "12:", "-99999999999999999999d", "tomorrow"};
	int64_t us;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (parse_moment(rows[i], NOW, &us) == 0)
			fail_msg("%s", rows[i]);
}

UNIT(they_are_of_the_local_time_zone)
{
	(void)setenv("TZ", "CET-1", 1);
	expect("2026-11-22 16:42:07", NOW);
	expect("16:42:07", NOW);
	(void)setenv("TZ", "UTC", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(moments_of_all_forms),
		RUN(what_is_no_moment),
		RUN(they_are_of_the_local_time_zone),
	};

	(void)setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
