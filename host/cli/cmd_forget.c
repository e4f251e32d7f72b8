/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/command.h"
#include "host/lib/postern.h"

static int run(struct cli *cli)
{
	struct postern_error error = {0};

	if (postern_forget(cli->words[0], &error) < 0)
		return cli_fail(cli, &error);
	return cli->json ? cli_json(json_pack("{s:s}", "name", cli->words[0])) : POSTERN_DONE;
}

const struct command cmd_forget = {
	.name = "forget",
	.arguments = "VM",
	.summary = "Drop the record of a virtual machine that has ended",
	.details = "Its logs go, and its persistent shares are forgotten on the host's side.",
	.least = 1,
	.most = 1,
	.run = run,
};
