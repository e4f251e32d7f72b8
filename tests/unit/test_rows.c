/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules that every row keeps. */
/* needs: agent/row.c */
#include "tests/unit/unit.h"

#include "agent/row.h"
#include "agent/session/session.h"

UNIT(a_worker_changes_something_needs_a_right_or_stays)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];
		bool needs_process = row->caps != 0 || row->flags & (MUTATING | GRANTS);
		bool has_process =
			row->where == WORKER || row->where == NEW_JOB || row->where == JOB;

		/* What the broker does itself is to its own processes, and what the watcher does to
		 * what it keeps. */
		if (row->where != BROKER && row->where != WATCHER && has_process != needs_process)
			fail_msg("%s: where it runs does not follow from what it does", row->name);
	}
}

UNIT(only_a_change_is_settled_and_none_runs_on_frozen_disks)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];

		if (row->settles && !(row->flags & MUTATING))
			fail_msg("%s: what changes nothing has nothing to settle", row->name);
		if (row->flags & MUTATING && row->flags & SAFE_FROZEN &&
			(row->where == WORKER || row->where == NEW_JOB) &&
			i != METHOD_filesystems_thaw)
			fail_msg("%s: a change may wait for a frozen disk", row->name);
	}
}

UNIT(only_who_looks_is_kept)
{
	size_t by_uevents = 0;

	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];

		if (row->flags & KEPT && (row->where != WORKER || row->settles ||
						 row->flags & (MUTATING | GRANTS | HOOKS)))
			fail_msg("%s: leaves its process other than it was", row->name);
		if (row->flags & BY_UEVENTS && row->where != READER)
			fail_msg("%s: is asked of no reader", row->name);
		by_uevents += (row->flags & BY_UEVENTS) != 0;
	}
	/* Each has a place in a session. */
	assert_int_equal(by_uevents, MEMOS_MAX);
}

UNIT(what_stays_in_the_watcher_needs_no_more_than_it_has)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];

		/* It waits for nothing, so it runs on frozen disks, and answers once. */
		if (row->where == WATCHER &&
			(row->caps != 0 || row->profile != PROFILE_WATCH || row->settles ||
				(row->flags & ~(unsigned int)MUTATING) != SAFE_FROZEN))
			fail_msg("%s: not what the watcher can do", row->name);
	}
}

UNIT(channels_are_granted_by_who_can_serve_them)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];

		if (row->flags & GRANTS && row->where != WORKER && row->where != NEW_JOB &&
			row->where != JOB)
			fail_msg("%s: grants channels and does not stay", row->name);
	}
}

UNIT(times_are_in_order)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];

		/* What only waits in the session may wait for a day. */
		uint32_t most = row->where == BROKER ? 86400000 : 300000;

		if (row->default_ms == 0 || row->default_ms > row->max_ms || row->max_ms > most)
			fail_msg("%s: times", row->name);
		assert_int_equal(method_find(row->name, strlen(row->name)), i);
	}
}

UNIT(each_has_a_summary_of_one_line)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct method_row *row = &method_rows[i];

		if (!row->summary || row->summary[0] == '\0' || strlen(row->summary) > 80)
			fail_msg("%s: summary", row->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_worker_changes_something_needs_a_right_or_stays),
		RUN(only_a_change_is_settled_and_none_runs_on_frozen_disks),
		RUN(only_who_looks_is_kept),
		RUN(what_stays_in_the_watcher_needs_no_more_than_it_has),
		RUN(channels_are_granted_by_who_can_serve_them),
		RUN(times_are_in_order),
		RUN(each_has_a_summary_of_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
