/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/mount_option.h"

#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/table.h"
#include "host/common/json_line.h"

#define BEYOND_WAIT_MS 30000 /* for the mount itself, once its device is there */

uint32_t mount_timeout(uint64_t wait_ms)
{
	return wait_ms ? (uint32_t)(wait_ms + BEYOND_WAIT_MS) : 0;
}

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
	static const struct table_head heads[] = {{"Pid", TABLE_RIGHT}, {"Command", TABLE_LEFT},
		{"User", TABLE_LEFT}, {"Use", TABLE_LEFT}, {"Path", TABLE_LEFT}, {0}};
	struct table table;
	const json_t *holder, *use;
	size_t i, j;

	table_init(&table, heads);
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
