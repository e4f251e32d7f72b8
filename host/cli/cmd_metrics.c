/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/show.h"

/* What OpenMetrics writes needs no escape: a backslash of it is one. */
static bool is_plain(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (line[i] < ' ' || line[i] > '~')
			return false;
	return true;
}

static void show_text(const char *text)
{
	for (size_t len; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		if (is_plain(text, len))
			(void)printf("%.*s\n", (int)len, text);
		else
			show_line("%.*s", (int)len, text);
	}
}

static void show(const struct cli *cli, const json_t *answer)
{
	(void)cli;
	show_text(agent_text(answer, "text"));
}

static int run(struct cli *cli)
{
	return agent_run(cli, "metrics.get", NULL, 0, show);
}

const struct command cmd_metrics = {
	.name = "metrics",
	.arguments = "VM",
	.summary = "Print figures of a guest and its agent as OpenMetrics",
	.details = "For a collector's textfile, or a script that serves them.",
	.least = 1,
	.most = 1,
	.run = run,
};
