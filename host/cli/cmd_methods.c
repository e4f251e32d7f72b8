/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/agent.h"
#include "host/cli/table.h"

static int run(struct cli *cli)
{
	struct table table = {0};
	const json_t *method;
	json_t *answer;
	size_t i;
	int r = agent_call(cli, "system.methods", NULL, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	table_column(&table, "Method", TABLE_LEFT);
	table_column(&table, "Here", TABLE_LEFT);
	table_column(&table, "What it does, or why not", TABLE_LEFT);
	json_array_foreach(json_object_get(answer, "methods"), i, method)
	{
		const char *reason = agent_text(method, "reason");

		table_cell(&table, "%s", agent_text(method, "name"));
		table_cell(&table, "%s", agent_words(method, "availability", ""));
		table_cell(&table, "%s", reason[0] ? reason : agent_text(method, "summary"));
	}
	table_print(&table, stdout);
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_methods = {
	.name = "methods",
	.arguments = "VM",
	.summary = "List what the agent can do for us, and why not the rest",
	.least = 1,
	.most = 1,
	.run = run,
};
