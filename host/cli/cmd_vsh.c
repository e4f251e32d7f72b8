/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>

#include "host/cli/job_run.h"
#include "host/cli/vshd_run.h"
#include "host/common/text.h"
#include "proto/vsh.h"

static const struct cli_option options[] = {
	{"user", 'u', "USER", "as whom, name or number; root by default"},
	{"cwd", 'C', "DIR", "where; the user's home by default"},
	{"vshd", 0, NULL, "through the vshd that the guest has, and not Postern's agent"},
	{"port", 0, "PORT", "of that; 9001 by default"},
	{0},
};

static int run_vshd(struct cli *cli)
{
	const char *port = cli_value(cli, "port");
	struct vshd_run how = {.port = VSH_PORT,
		.terminal = isatty(STDIN_FILENO) != 0,
		.user = cli_value(cli, "user"),
		.cwd = cli_value(cli, "cwd"),
		.argv = cli->words + 1,
		.argc = cli->n_words - 1};

	if (port && parse_port(port, &how.port) < 0)
		return cli_usage(cli, "%s: expected a port", port);
	return vshd_run(cli, &how);
}

static int run(struct cli *cli)
{
	struct job_run how = {.terminal = isatty(STDIN_FILENO) != 0};
	const char *user = cli_value(cli, "user"), *cwd = cli_value(cli, "cwd");
	json_t *argv, *params;

	if (cli_flag(cli, "vshd"))
		return run_vshd(cli);
	if (cli_value(cli, "port"))
		return cli_usage(cli, "--port goes with --vshd");
	argv = json_array();
	for (int i = 1; i < cli->n_words; i++)
		(void)json_array_append_new(argv, job_bytes(cli->words[i]));
	params = json_pack("{s:o, s:s, s:s, s:s, s:o*, s:o*, s:o*}", "argv", argv, "input",
		"CHANNEL", "output", "CHANNEL", "errors", "CHANNEL", "terminal",
		how.terminal ? job_terminal() : NULL, "user", user ? job_bytes(user) : NULL, "cwd",
		cwd ? job_bytes(cwd) : NULL);
	return job_run_start(cli, &how, params);
}

const struct command cmd_vsh = {
	.name = "vsh",
	.arguments = "VM [-- PROGRAM [ARGUMENT...]]",
	.summary = "A shell in a guest, or a program at its terminal",
	.details =
		"~. at the beginning of a line leaves, ~? tells what else there is. In a pipe the\n"
		"shell has no terminal, and reads its commands from there. Its exit code is ours;\n"
		"from vshd, a signal's number is, too.",
	.least = 1,
	.most = -1,
	.options = options,
	.run = run,
};
