/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/command.h"
#include "host/lib/postern.h"

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
