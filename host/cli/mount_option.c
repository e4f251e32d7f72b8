/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/mount_option.h"

#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/table.h"
#include "host/common/json_line.h"

json_t *mount_options_from(const struct cli *cli)
{
	json_t *options = json_array();
	const char *option;
	size_t at = 0;

	while ((option = cli_next(cli, "option", &at))) {
		const char *equals = strchr(option, '=');
		size_t len = equals ? (size_t)(equals - option) : strlen(option);
		json_t *one = json_pack("{s:s%}", "key", option, len);

		if (equals)
			(void)json_object_set_new(one, "value", json_string(equals + 1));
		(void)json_array_append_new(options, one);
	}
	return options;
}

void holders_print(const json_t *holders, FILE *out)
{
	struct table table = {0};
	const json_t *holder, *use;
	size_t i, j;

	table_column(&table, "Pid", TABLE_RIGHT);
	table_column(&table, "Command", TABLE_LEFT);
	table_column(&table, "User", TABLE_LEFT);
	table_column(&table, "Use", TABLE_LEFT);
	table_column(&table, "Path", TABLE_LEFT);
	json_array_foreach(holders, i, holder)
		json_array_foreach(json_object_get(holder, "uses"), j, use)
	{
		json_int_t pid = json_field_int(holder, "pid", 0);

		if (pid > 0)
			table_cell(&table, "%d", (int)pid);
		else
			table_cell(&table, "-");
		table_cell(&table, "%s", pid > 0 ? agent_text(holder, "command") : "(kernel)");
		table_cell(&table, "%s", agent_text(holder, "user"));
		table_cell(&table, "%s", agent_words(use, "kind", ""));
		table_cell(&table, "%s", agent_text(use, "path"));
	}
	table_print(&table, out);
}
