/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/agent.h"
#include "host/cli/guest_restored.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

static int run(struct cli *cli)
{
	struct postern_error error = {0};
	json_t *answer = NULL;

	if (guest_restored(cli->words[0], &answer, &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(answer);
	if (json_object_get(answer, "adjusted_ns"))
		show_line("Its clock was %.3f s off",
			-(double)json_field_int(answer, "adjusted_ns", 0) / 1e9);
	if (json_object_get(answer, "machine_id"))
		show_line("Its machine id is %s now", agent_text(answer, "machine_id"));
	if (json_object_get(answer, "hook_problem"))
		show_line("But %s", agent_text(answer, "hook_problem"));
	show_line("The guest is of another generation now");
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_restored = {
	.name = "restored",
	.arguments = "VM",
	.summary = "Tell a guest that it has gone on from a snapshot",
	.details = "Its random numbers are made anew, its clock is set by this host's, programs "
		   "and callers\n"
		   "that care are told. \"launch --restore\" does this by itself.",
	.least = 1,
	.most = 1,
	.run = run,
};
