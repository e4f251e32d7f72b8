/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "host/cli/command.h"
#include "host/cli/stats.h"
#include "host/common/text.h"
#include "host/lib/postern.h"

static int run_request(struct cli *cli)
{
	struct postern_error error = {0};
	uint64_t bytes;

	if (parse_size(cli->words[1], 1, &bytes) < 0)
		return cli_usage(
			cli, "%s: a number of bytes, or a size such as 128M", cli->words[1]);
	if (postern_memory_plug(cli->words[0], bytes, &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack(
			"{s:s, s:I}", "name", cli->words[0], "requested_size", (json_int_t)bytes));
	(void)printf("Resizing dynamically plugged memory to %" PRIu64 " bytes!\n", bytes);
	return POSTERN_DONE;
}

const struct command cmd_mem_request_plugged = {
	.name = "mem request-plugged",
	.arguments = "VM BYTES|SIZE",
	.summary = "Set how much memory is plugged into a guest besides its own",
	.details = "The machine must have been launched with --virtio-mem. The guest follows in "
		   "its own\n"
		   "time, and as far as it can: mem stats tells. 0 takes all out again.",
	.least = 2,
	.most = 2,
	.run = run_request,
};

static int run_stats(struct cli *cli)
{
	struct postern_stat stats[POSTERN_MEMORY_STATS];
	struct postern_error error = {0};

	if (postern_memory_stats(cli->words[0], stats, &error) < 0)
		return cli_fail(cli, &error);
	return stats_show(cli, stats, POSTERN_MEMORY_STATS);
}

const struct command cmd_mem_stats = {
	.name = "mem stats",
	.arguments = "VM",
	.summary = "Show what is plugged into a guest of memory, and what was asked for",
	.details = "In bytes. What the VMM does not tell is UNKNOWN.",
	.least = 1,
	.most = 1,
	.run = run_stats,
};
