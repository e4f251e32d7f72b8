/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/agent.h"
#include "host/cli/table.h"
#include "host/common/json_line.h"

static int run(struct cli *cli)
{
	struct table table = {0};
	const json_t *share;
	json_t *answer;
	size_t i;
	int r = agent_call(cli, "shares.list", NULL, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	table_column(&table, "Target", TABLE_LEFT);
	table_column(&table, "Source", TABLE_LEFT);
	table_column(&table, "Type", TABLE_LEFT);
	table_column(&table, "State", TABLE_LEFT);
	table_column(&table, "Persistent", TABLE_LEFT);
	table_column(&table, "Unit or problem", TABLE_LEFT);
	json_array_foreach(json_object_get(answer, "shares"), i, share)
	{
		const char *problem = agent_text(share, "problem");

		table_cell(&table, "%s", agent_text(share, "target"));
		table_cell(&table, "%s", agent_text(share, "source"));
		table_cell(&table, "%s", agent_text(share, "type"));
		table_cell(&table, "%s", agent_words(share, "state", "SHARE_"));
		table_cell(
			&table, "%s", json_field_bool(share, "persistent", false) ? "yes" : "no");
		table_cell(&table, "%s", problem[0] ? problem : agent_text(share, "unit"));
	}
	table_print(&table, stdout);
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_shares_list = {
	.name = "shares list",
	.arguments = "VM",
	.summary = "Show the shares that the guest's agent looks after",
	.least = 1,
	.most = 1,
	.run = run,
};
