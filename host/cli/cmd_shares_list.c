/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/listing.h"
#include "host/common/json_line.h"

static void add_row(struct table *table, const json_t *share)
{
	const char *problem = agent_text(share, "problem");

	table_cell(table, "%s", agent_text(share, "target"));
	table_cell(table, "%s", agent_text(share, "source"));
	table_cell(table, "%s", agent_text(share, "type"));
	table_cell(table, "%s", agent_words(share, "state", "SHARE_"));
	table_cell(table, "%s", json_field_bool(share, "persistent", false) ? "yes" : "no");
	table_cell(table, "%s", problem[0] ? problem : agent_text(share, "unit"));
}

static int run(struct cli *cli)
{
	static const struct table_head heads[] = {{"Target", TABLE_LEFT}, {"Source", TABLE_LEFT},
		{"Type", TABLE_LEFT}, {"State", TABLE_LEFT}, {"Persistent", TABLE_LEFT},
		{"Unit or problem", TABLE_LEFT}, {0}};
	static const struct listing listing = {"shares.list", "shares", heads, add_row};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_shares_list = {
	.name = "shares list",
	.arguments = "VM",
	.summary = "Show the shares that the guest's agent looks after",
	.least = 1,
	.most = 1,
	.run = run,
};
