/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/listing.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"

static void add_row(struct table *table, const json_t *disk)
{
	table_cell(table, "%s", agent_text(disk, "name"));
	table_cell(table, "%s", human_bytes((double)json_field_int(disk, "size", 0)));
	table_cell(table, "%s", agent_text(disk, "bus"));
	table_cell(table, "%s%s", json_is_true(json_object_get(disk, "read_only")) ? "ro" : "rw",
		json_is_true(json_object_get(disk, "removable")) ? ", removable" : "");
	table_cell(table, "%s", agent_text(disk, "id"));
	table_cell(table, "%s", agent_text(disk, "filesystem"));
	table_cell(table, "%s", agent_text(disk, "filesystem_label"));
	table_cell(table, "%s", agent_joined(disk, "mounted_at"));
}

static int run_list(struct cli *cli)
{
	static const struct table_head heads[] = {{"Disk", TABLE_LEFT}, {"Size", TABLE_RIGHT},
		{"Bus", TABLE_LEFT}, {"Access", TABLE_LEFT}, {"Id", TABLE_LEFT},
		{"File system", TABLE_LEFT}, {"Label", TABLE_LEFT}, {"Mounted at", TABLE_LEFT},
		{0}};
	static const struct listing disks = {
		.method = "disks.list_disks", .array = "disks", .heads = heads, .add_row = add_row};

	return listing_run(cli, &disks, NULL);
}

const struct command cmd_disks_list = {
	.name = "disks list",
	.arguments = "VM",
	.summary = "Show the guest's disks and partitions, and where they are mounted",
	.least = 1,
	.most = 1,
	.run = run_list,
};

static const struct cli_option add_options[] = {
	{"read-only", 'r', NULL, "the guest cannot write to it"},
	{0},
};

static int run_add(struct cli *cli)
{
	struct postern_error error = {0};
	bool read_only = cli_flag(cli, "read-only");
	char id[16];

	if (postern_disk_plug(cli->words[0], cli->words[1], read_only, id, &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s, s:b}", "id", id, "path", cli->words[1],
			"read_only", read_only));
	(void)printf("%s is plugged as %s, its serial number in the guest\n", cli->words[1], id);
	return POSTERN_DONE;
}

const struct command cmd_disks_add = {
	.name = "disks add",
	.arguments = "VM IMAGE",
	.summary = "Plug a disk image, raw or qcow2, into a running guest",
	.details = "It stays until it is removed or the machine ends.",
	.least = 2,
	.most = 2,
	.options = add_options,
	.run = run_add,
};

static int run_remove(struct cli *cli)
{
	struct postern_error error = {0};

	if (postern_disk_unplug(cli->words[0], cli->words[1], &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s}", "id", cli->words[1]));
	(void)printf("%s is pulled\n", cli->words[1]);
	return POSTERN_DONE;
}

const struct command cmd_disks_remove = {
	.name = "disks remove",
	.arguments = "VM DISK",
	.summary = "Pull a disk that was plugged",
	.details = "Unmount it in the guest first: who has it mounted loses it.",
	.least = 2,
	.most = 2,
	.run = run_remove,
};
