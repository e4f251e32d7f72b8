/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/command.h"
#include "host/cli/pump.h"
#include "host/common/fail.h"
#include "host/common/text.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

static const struct cli_option options[] = {
	{"timeout", 't', CLI_TIME, "for a guest to connect, default for ever"},
	{0},
};

/* The first connection. 0 and *ret_fd, or -errno with *error. */
static int accept_one(struct postern_listener *listener, uint32_t port, uint64_t timeout_ms,
	int *ret_fd, struct postern_error *error)
{
	uint64_t until = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	int fd;

	while ((fd = postern_listener_accept(listener)) == -EAGAIN) {
		struct pollfd wait = {.fd = postern_listener_fd(listener), .events = POLLIN};

		if (timeout_ms > 0 && monotonic_ns() >= until)
			return fail(error, POSTERN_TIMED_OUT, ETIMEDOUT,
				"nobody connected to port %u in time", port);
		(void)poll(&wait, 1, timeout_ms > 0 ? ms_until(until) : -1);
	}
	if (fd < 0)
		return fail_errno(error, POSTERN_ANSWERED, -fd, "port %u", port);
	*ret_fd = fd;
	return 0;
}

static int run(struct cli *cli)
{
	const char *name = cli->n_words == 2 ? cli->words[0] : NULL;
	const char *word = cli->words[cli->n_words - 1];
	struct postern_listener *listener = NULL;
	struct postern_error error = {0};
	AUTO_CLOSE int fd = -EBADF;
	char ending[64];
	uint64_t timeout_ms;
	uint32_t port;
	int r;

	if (cli_time(cli, "timeout", 1, DAY_MS, 0, &timeout_ms) < 0)
		return POSTERN_USAGE;
	if (parse_port(word, &port) < 0)
		return cli_usage(cli, "%s: expected a port", word);
	r = postern_listener_open(name, port, &listener, &error);
	if (r == 0)
		r = accept_one(listener, port, timeout_ms, &fd, &error);
	/* One connection and no more: who comes next finds nobody. */
	postern_listener_close(listener);
	if (r < 0)
		return cli_fail(cli, &error);
	(void)snprintf(ending, sizeof(ending), "Stopped listening on port %u", port);
	return pump_stdio(cli, &(struct pump){0}, fd, ending);
}

const struct command cmd_socat_listen = {
	.name = "socat-listen",
	.arguments = "[VM] PORT",
	.summary = "Take one connection of a guest to a port of the host, as standard input and "
		   "output",
	.details = "Without VM it listens for guests whose vsock is the host kernel's.\n"
		   "How it ended is told on standard error, with --json what was copied.",
	.least = 1,
	.most = 2,
	.options = options,
	.run = run,
};
