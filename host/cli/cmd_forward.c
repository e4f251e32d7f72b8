/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_run.h"
#include "host/cli/forward_tell.h"

static int run(struct cli *cli)
{
	static struct forward_spec specs[FORWARD_SPECS_MAX];
	size_t n = (size_t)cli->n_words - 1;
	const char *why;
	int r = -1;

	if (n > FORWARD_SPECS_MAX)
		return cli_usage(cli, "at most %d forwards at once", FORWARD_SPECS_MAX);
	for (size_t i = 0; i < n; i++)
		if (forward_spec_parse(cli->words[i + 1], &specs[i], &why) < 0)
			return cli_usage(cli, "%s: %s", cli->words[i + 1], why);
	r = forward_run(cli, specs, n);
	for (size_t i = 0; i < n; i++)
		forward_spec_done(&specs[i]);
	return r;
}

const struct command cmd_forward = {
	.name = "forward",
	.arguments = "VM SPEC...",
	.summary = "Forward TCP, UDP and UNIX sockets between host and guest",
	.details =
		"A SPEC is where to listen, =, and where to connect to on the other side:\n"
		"  8080:80                          as tcp:8080=tcp:80\n"
		"  tcp:8080=tcp:127.0.0.1:80        listens here, connects in the guest\n"
		"  udp:5353=udp:[::1]:53            datagrams\n"
		"  unix:/tmp/d.sock=unix:/run/docker.sock\n"
		"  guest:tcp:9000=tcp:9000          listens in the guest, connects here\n"
		"The address is 127.0.0.1 where none is named; a name is looked up for the host's\n"
		"side alone. It goes on when the guest restarts. SIGUSR1 shows the counts, which\n"
		"stand at the end too.",
	.least = 2,
	.most = -1,
	.run = run,
};
