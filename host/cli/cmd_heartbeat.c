/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/event_follow.h"
#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"
#include "proto/clock.h"

#define SILENCE 3 /* intervals */

static const struct cli_option options[] = {
	{"watch", 'w', NULL, "print who is missed and who is there again, as it happens"},
	{"interval", 'i', CLI_TIME,
		"with --watch: the agent's own sign of life so often, at least 1s"},
	{"count", 'n', "N", "with --watch: end after so many events"},
	{"for", 'f', CLI_TIME, "with --watch: end after so long"},
	{0},
};

static double seconds(const json_t *program, const char *key)
{
	return (double)json_field_int(program, key, 0) / 1000;
}

static void add_row(struct table *table, const json_t *program)
{
	const char *state = agent_words(program, "state", "HEARTBEAT_");

	table_cell(table, "%s", agent_text(program, "name"));
	table_cell(table, "%lld", (long long)json_field_int(program, "uid", 0));
	table_cell(table, "%s", state);
	table_cell(table, "%.1f s ago", seconds(program, "last_beat_ago_ms"));
	table_cell(table, "%.1f s", seconds(program, "deadline_ms"));
	table_cell(table, "%lld", (long long)json_field_int(program, "missed", 0));
}

static int run_list(struct cli *cli)
{
	static const struct table_head heads[] = {{"Program", TABLE_LEFT}, {"User", TABLE_RIGHT},
		{"State", TABLE_LEFT}, {"Last sign", TABLE_RIGHT}, {"Deadline", TABLE_RIGHT},
		{"Missed", TABLE_RIGHT}, {0}};
	static const struct listing programs = {.method = "heartbeat.list",
		.array = "programs",
		.heads = heads,
		.add_row = add_row};

	return listing_run(cli, &programs, NULL);
}

static int run(struct cli *cli)
{
	static const char *const topics[] = {"notify.heartbeat.*"};
	struct event_wish wish = {.until_ns = UINT64_MAX,
		.subscribe = {.topics = topics, .n_topics = 1, .snapshot = true}};
	uint64_t interval_ms, for_ms;

	if (cli_time(cli, "interval", 1000, DAY_MS, 0, &interval_ms) < 0 ||
		cli_number(cli, "count", UINT32_MAX, UINT64_MAX, &wish.most) < 0 ||
		cli_time(cli, "for", 1, UINT32_MAX, 0, &for_ms) < 0)
		return POSTERN_USAGE;
	if (!cli_flag(cli, "watch"))
		return cli->n_given > 0 ? cli_usage(cli, "that needs --watch") : run_list(cli);
	wish.subscribe.interval_ms = (uint32_t)interval_ms;
	wish.silence_ns = SILENCE * interval_ms * NSEC_PER_MSEC;
	if (for_ms > 0)
		wish.until_ns = monotonic_ns() + for_ms * NSEC_PER_MSEC;
	return event_follow(cli, &wish);
}

const struct command cmd_heartbeat = {
	.name = "heartbeat",
	.arguments = "VM",
	.summary = "Show which programs of the guest give signs of life, and which do not any more",
	.details = "With --interval, an agent that gives no sign of life for three intervals is an "
		   "error\n"
		   "(exit code 5).",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
