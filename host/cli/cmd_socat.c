/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/command.h"
#include "host/cli/pump.h"
#include "host/common/text.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"

static const struct cli_option options[] = {
	{"timeout", 't', CLI_TIME, "for somebody to answer, default 5s"},
	{0},
};

static int run(struct cli *cli)
{
	struct postern_error error = {0};
	AUTO_CLOSE int fd = -EBADF;
	uint64_t timeout_ms;
	uint32_t port;

	if (cli_time(cli, "timeout", 1, DAY_MS, 0, &timeout_ms) < 0)
		return POSTERN_USAGE;
	if (parse_port(cli->words[1], &port) < 0)
		return cli_usage(cli, "%s: expected a port", cli->words[1]);
	if (postern_stream_open(cli->words[0], port, (uint32_t)timeout_ms, &fd, &error) < 0)
		return cli_fail(cli, &error);
	return pump_stdio(cli, &(struct pump){0}, fd, "Disconnected after a successful connect");
}

const struct command cmd_socat = {
	.name = "socat",
	.arguments = "VM PORT",
	.summary = "Connect standard input and output to a vsock port of a guest",
	.details = "How it ended is told on standard error, with --json what was copied.",
	.least = 2,
	.most = 2,
	.options = options,
	.run = run,
};
