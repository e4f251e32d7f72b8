/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "host/cli/listing.h"
#include "host/cli/mount_option.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

/* ---- list ---- */

static const struct cli_option list_options[] = {
	{"usage", 'u', NULL, "ask each file system how full it is"},
	{"type", 't', "TYPE", "only this type; may be repeated"},
	{0},
};

static void add_front(struct table *table, const json_t *mount)
{
	table_cell(table, "%s", agent_text(mount, "target"));
	table_cell(table, "%s", agent_text(mount, "source"));
	table_cell(table, "%s", agent_text(mount, "type"));
}

static void add_back(struct table *table, const json_t *mount)
{
	bool dead = strcmp(agent_text(mount, "state"), "NOT_RESPONDING") == 0;

	table_cell(table, "%s", agent_text(mount, "propagation"));
	table_cell(table, "%s%s", dead ? "NOT RESPONDING " : "", agent_joined(mount, "options"));
}

static void add_row(struct table *table, const json_t *mount)
{
	add_front(table, mount);
	add_back(table, mount);
}

static void add_row_with_usage(struct table *table, const json_t *mount)
{
	const json_t *used = json_object_get(mount, "usage");

	add_front(table, mount);
	table_cell(table, "%s", used ? human_bytes((double)json_field_int(used, "total", 0)) : "");
	table_cell(
		table, "%s", used ? human_bytes((double)json_field_int(used, "available", 0)) : "");
	add_back(table, mount);
}

static int run_list(struct cli *cli)
{
	static const struct table_head heads[] = {{"Target", TABLE_LEFT}, {"Source", TABLE_LEFT},
		{"Type", TABLE_LEFT}, {"Propagation", TABLE_LEFT}, {"Options", TABLE_LEFT}, {0}};
	static const struct table_head usage_heads[] = {{"Target", TABLE_LEFT},
		{"Source", TABLE_LEFT}, {"Type", TABLE_LEFT}, {"Size", TABLE_RIGHT},
		{"Available", TABLE_RIGHT}, {"Propagation", TABLE_LEFT}, {"Options", TABLE_LEFT},
		{0}};
	static const struct listing listing = {"mounts.list", "mounts", heads, add_row};
	static const struct listing usage_listing = {
		"mounts.list", "mounts", usage_heads, add_row_with_usage};
	bool usage = cli_flag(cli, "usage");
	json_t *params = json_pack("{s:b, s:[]}", "usage", usage, "types");
	const char *type;
	size_t at = 0;

	while ((type = cli_next(cli, "type", &at)))
		(void)json_array_append_new(json_object_get(params, "types"), json_string(type));
	return listing_run(cli, usage ? &usage_listing : &listing, params);
}

const struct command cmd_mounts_list = {
	.name = "mounts list",
	.arguments = "VM",
	.summary = "Show the guest's mount table",
	.least = 1,
	.most = 1,
	.options = list_options,
	.run = run_list,
};

/* ---- mount ---- */

static const struct cli_option mount_options[] = {
	{"type", 't', "TYPE", "file system type (needed)"},
	{"option", 'o', "KEY[=VALUE]", "mount option; may be repeated"},
	{"create", 'p', NULL, "make the folder when it is missing"},
	{"wait", 'w', CLI_TIME, "for a device that is being plugged in"},
	{0},
};

static int run_mount(struct cli *cli)
{
	bool source = cli->n_words == 3;
	uint64_t wait_ms;
	json_t *params, *answer;
	int r;

	if (!cli_value(cli, "type"))
		return cli_usage(cli, "--type must be given");
	if (cli_time(cli, "wait", 0, 270000, 0, &wait_ms) < 0)
		return POSTERN_USAGE;
	params = json_pack("{s:s, s:s, s:b, s:I}", "target", cli->words[source ? 2 : 1], "type",
		cli_value(cli, "type"), "create_target", cli_flag(cli, "create"), "wait_ms",
		(json_int_t)wait_ms);
	if (source)
		(void)json_object_set_new(params, "source", json_string(cli->words[1]));
	(void)json_object_set_new(params, "options", mount_options_from(cli));
	r = agent_call(cli, "mounts.mount", params, mount_timeout(wait_ms), &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_line("mounted at %s (%s)", agent_text(json_object_get(answer, "mount"), "target"),
		agent_text(json_object_get(answer, "mount"), "type"));
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_mounts_mount = {
	.name = "mounts mount",
	.arguments = "VM [SOURCE] TARGET",
	.summary = "Mount a file system in the guest",
	.least = 2,
	.most = 3,
	.options = mount_options,
	.run = run_mount,
};

/* ---- unmount ---- */

static const struct cli_option unmount_options[] = {
	{"lazy", 'l', NULL, "take it out of the table at once; it ends with its last holder"},
	{"force", 'f', NULL, "let pending requests of a network file system fail"},
	{0},
};

static int run_unmount(struct cli *cli)
{
	const char *mode = cli_flag(cli, "lazy")    ? "LAZY"
			   : cli_flag(cli, "force") ? "FORCE"
						    : "NORMAL";
	json_t *answer;
	const json_t *holders;
	int r = agent_call(cli, "mounts.unmount",
		json_pack("{s:s, s:s}", "target", cli->words[1], "mode", mode), 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	holders = json_object_get(answer, "holders");
	(void)printf("%s is unmounted\n", cli->words[1]);
	if (json_array_size(holders) > 0) {
		(void)puts("still held by:");
		holders_print(holders, stdout);
	}
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_mounts_unmount = {
	.name = "mounts unmount",
	.arguments = "VM TARGET",
	.summary = "Unmount a file system in the guest, or say who holds it",
	.least = 2,
	.most = 2,
	.options = unmount_options,
	.run = run_unmount,
};
