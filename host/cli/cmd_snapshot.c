/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/command.h"
#include "host/cli/progress.h"
#include "host/lib/postern.h"

static int run(struct cli *cli)
{
	struct postern_error error = {0};
	int r;

	progress_show("saving");
	r = postern_snapshot(cli->words[0], cli->words[1], &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(
			json_pack("{s:s, s:s}", "name", cli->words[0], "snapshot", cli->words[1]));
	(void)printf("Saved the guest %s in %s\n", cli->words[0], cli->words[1]);
	return POSTERN_DONE;
}

const struct command cmd_snapshot = {
	.name = "snapshot",
	.arguments = "VM DIR",
	.summary = "Keep a guest's memory and devices in a new folder (not under QEMU)",
	.details =
		"The guest stands still meanwhile, and then goes on unless it was paused before.\n"
		"\"launch --restore DIR\" starts a guest that goes on from there. Disks are not in "
		"it:\n"
		"they must be as they were. The guest's secrets are: the folder is its owner's "
		"alone.",
	.least = 2,
	.most = 2,
	.run = run,
};
