/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/agent.h"
#include "proto/client/json_call.h"
#include "proto/client/json_text.h"

static const struct cli_option options[] = {
	{"timeout", 't', CLI_TIME, "for the answer; the method's own by default"},
	{0},
};

static int run(struct cli *cli)
{
	struct postern_client *client;
	struct postern_error error = {0};
	uint64_t timeout_ms;
	json_t *answer;
	int r;

	if (cli_time(cli, "timeout", 1, UINT32_MAX, 0, &timeout_ms) < 0)
		return POSTERN_USAGE;
	r = agent_connect(cli, &client);
	if (r != POSTERN_DONE)
		return r;
	if (json_call(client, cli->words[1], cli->n_words > 2 ? cli->words[2] : NULL,
		    (uint32_t)timeout_ms, &answer, &error) < 0)
		r = cli_fail(cli, &error);
	postern_client_close(client);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	r = json_print(answer, 2, stdout) < 0 ? POSTERN_ANSWERED : POSTERN_DONE;
	json_decref(answer);
	return r;
}

const struct command cmd_call = {
	.name = "call",
	.arguments = "VM METHOD [JSON]",
	.summary = "Call any method of the agent, with JSON in and out",
	.least = 2,
	.most = 3,
	.options = options,
	.run = run,
};
