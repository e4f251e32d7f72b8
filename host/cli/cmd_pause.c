/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/command.h"
#include "host/lib/postern.h"

static int report(const struct cli *cli, const char *state)
{
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s}", "name", cli->words[0], "state", state));
	(void)printf("The guest %s %s\n", cli->words[0], state);
	return POSTERN_DONE;
}

static int run_pause(struct cli *cli)
{
	struct postern_error error = {0};

	if (postern_pause(cli->words[0], &error) < 0)
		return cli_fail(cli, &error);
	return report(cli, "paused");
}

const struct command cmd_pause = {
	.name = "pause",
	.arguments = "VM",
	.summary = "Stop a guest's processors; it keeps its memory",
	.details = "Until it is resumed nobody in it answers.",
	.least = 1,
	.most = 1,
	.run = run_pause,
};

static int run_resume(struct cli *cli)
{
	struct postern_error error = {0};

	if (postern_resume(cli->words[0], &error) < 0)
		return cli_fail(cli, &error);
	return report(cli, "resumed");
}

const struct command cmd_resume = {
	.name = "resume",
	.arguments = "VM",
	.summary = "Let a paused guest go on",
	.least = 1,
	.most = 1,
	.run = run_resume,
};
