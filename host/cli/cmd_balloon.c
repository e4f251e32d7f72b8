/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "host/cli/command.h"
#include "host/cli/stats.h"
#include "host/common/text.h"
#include "host/lib/postern.h"

#define PAGE 4096u

static int run_set(struct cli *cli)
{
	struct postern_error error = {0};
	uint64_t bytes, pages;

	if (parse_size(cli->words[1], PAGE, &bytes) < 0 || bytes % PAGE != 0)
		return cli_usage(
			cli, "%s: a number of 4 KiB pages, or a size such as 64M", cli->words[1]);
	pages = bytes / PAGE;
	if (postern_balloon(cli->words[0], pages, &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack(
			"{s:s, s:I}", "name", cli->words[0], "requested_pages", (json_int_t)pages));
	(void)printf("Resizing memory balloon to %" PRIu64 " pages!\n", pages);
	return POSTERN_DONE;
}

const struct command cmd_balloon = {
	.name = "balloon",
	.arguments = "VM PAGES|SIZE",
	.summary = "Set how much memory the balloon takes from a guest",
	.details = "PAGES counts 4 KiB. 0 gives everything back.",
	.least = 2,
	.most = 2,
	.run = run_set,
};

static int run_stats(struct cli *cli)
{
	struct postern_stat stats[POSTERN_BALLOON_STATS];
	struct postern_error error = {0};

	if (postern_balloon_stats(cli->words[0], stats, &error) < 0)
		return cli_fail(cli, &error);
	return stats_show(cli, stats, POSTERN_BALLOON_STATS);
}

const struct command cmd_balloon_stats = {
	.name = "balloon-stats",
	.arguments = "VM",
	.summary = "Show what the balloon has taken and how the guest's memory is",
	.details =
		"current-pages and requested-pages count 4 KiB; swap and memory are bytes, faults\n"
		"and allocations are counts. What the guest does not tell, or what cannot be, is\n"
		"UNKNOWN.",
	.least = 1,
	.most = 1,
	.run = run_stats,
};
