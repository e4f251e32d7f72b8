/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

static void add_row(struct table *table, const json_t *module)
{
	table_cell(table, "%s", agent_text(module, "name"));
	table_cell(table, "%s", human_bytes((double)json_field_int(module, "size", 0)));
	table_cell(table, "%d", (int)json_field_int(module, "references", 0));
	table_cell(table, "%s", agent_joined(module, "users"));
}

static int run_list(struct cli *cli)
{
	static const struct table_head heads[] = {{"Module", TABLE_LEFT}, {"Size", TABLE_RIGHT},
		{"References", TABLE_RIGHT}, {"Used by", TABLE_LEFT}, {0}};
	static const struct listing listing = {"modules.list", "modules", heads, add_row};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_modules_list = {
	.name = "modules list",
	.arguments = "VM",
	.summary = "Show the kernel modules that are loaded in the guest",
	.least = 1,
	.most = 1,
	.run = run_list,
};

static int run_info(struct cli *cli)
{
	const json_t *parameter;
	json_t *answer;
	size_t i;
	int r = agent_call(
		cli, "modules.info", json_pack("{s:s}", "name", cli->words[1]), 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_line("%-14s%s", "Description:", agent_text(answer, "description"));
	show_line("%-14s%s", "License:", agent_text(answer, "license"));
	show_line("%-14s%s", "Depends on:", agent_joined(answer, "depends"));
	show_line("%-14s%s", "Loaded:", json_field_bool(answer, "loaded", false) ? "yes" : "no");
	show_line("%-14s%s",
		"May be loaded:", json_field_bool(answer, "allowed", false) ? "yes" : "no");
	json_array_foreach(json_object_get(answer, "parameters"), i, parameter)
	{
		show_line("%-14s%s: %s%s", i == 0 ? "Parameters:" : "",
			agent_text(parameter, "name"), agent_text(parameter, "description"),
			json_field_bool(parameter, "allowed", false) ? " (may be set)" : "");
	}
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_modules_info = {
	.name = "modules info",
	.arguments = "VM MODULE",
	.summary = "Describe a kernel module of the guest",
	.least = 2,
	.most = 2,
	.run = run_info,
};

static int run_load(struct cli *cli)
{
	json_t *parameters = json_array(), *answer;
	int r;

	for (int i = 2; i < cli->n_words; i++) {
		const char *word = cli->words[i], *equals = strchr(word, '=');

		if (!equals) {
			json_decref(parameters);
			return cli_usage(cli, "%s: expected PARAMETER=VALUE", word);
		}
		(void)json_array_append_new(
			parameters, json_pack("{s:s%, s:s}", "name", word, (size_t)(equals - word),
					    "value", equals + 1));
	}
	r = agent_call(cli, "modules.load",
		json_pack("{s:s, s:o}", "name", cli->words[1], "parameters", parameters), 0,
		&answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_line("%s %s", cli->words[1],
		json_field_bool(answer, "loaded_now", false) ? "is loaded now"
							     : "was there already");
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_modules_load = {
	.name = "modules load",
	.arguments = "VM MODULE [PARAMETER=VALUE...]",
	.summary = "Load an allowed kernel module in the guest",
	.least = 2,
	.most = 10,
	.run = run_load,
};

static void show_unloaded(const struct cli *cli, const json_t *answer)
{
	(void)answer;
	show_line("%s is unloaded", cli->words[1]);
}

static int run_unload(struct cli *cli)
{
	json_t *params = json_pack("{s:s}", "name", cli->words[1]);

	return agent_run(cli, "modules.unload", params, 0, show_unloaded);
}

const struct command cmd_modules_unload = {
	.name = "modules unload",
	.arguments = "VM MODULE",
	.summary = "Unload an allowed kernel module in the guest",
	.least = 2,
	.most = 2,
	.run = run_unload,
};
