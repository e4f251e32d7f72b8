/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/listing.h"

static void add_row(struct table *table, const json_t *method)
{
	const char *reason = agent_text(method, "reason");

	table_cell(table, "%s", agent_text(method, "name"));
	table_cell(table, "%s", agent_words(method, "availability", ""));
	table_cell(table, "%s", reason[0] ? reason : agent_text(method, "summary"));
}

static int run(struct cli *cli)
{
	static const struct table_head heads[] = {{"Method", TABLE_LEFT}, {"Here", TABLE_LEFT},
		{"What it does, or why not", TABLE_LEFT}, {0}};
	static const struct listing listing = {"system.methods", "methods", heads, add_row};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_methods = {
	.name = "methods",
	.arguments = "VM",
	.summary = "List what the agent can do for us, and why not the rest",
	.least = 1,
	.most = 1,
	.run = run,
};
