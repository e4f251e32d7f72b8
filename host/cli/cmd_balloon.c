/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "host/cli/balloon_follow.h"
#include "host/cli/stats.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"

#define PAGE 4096u

static const struct cli_option options[] = {
	{"auto", 'a', NULL, "follow the guest's pressure and this host's memory until stopped"},
	{"floor", 'f', "SIZE",
		"with --auto: what the guest is left with at least; default a quarter"},
	{"ceiling", 'c', "SIZE", "with --auto: ... and at most; default all of it"},
	{"host-low", 'l', "PERCENT",
		"with --auto: take while less of this host's is available; 20"},
	{0},
};

/* What the machine has, in bytes; 0 after saying why it is not known. */
static uint64_t memory_of(const struct cli *cli, int *ret_code)
{
	struct postern_error error = {0};
	struct postern_vm *vm = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *details = NULL;

	if (postern_vm_info(cli->words[0], &vm, &error) < 0) {
		*ret_code = cli_fail(cli, &error);
		return 0;
	}
	text = postern_vm_json(vm);
	postern_vm_free(vm);
	details = text ? json_loads(text, 0, NULL) : NULL;
	*ret_code = POSTERN_ABSENT;
	return (uint64_t)json_field_int(details, "memory_bytes", 0);
}

static int run_auto(struct cli *cli)
{
	struct balloon_bounds bounds = {0};
	uint64_t low;
	int code = POSTERN_DONE;

	if (cli->n_words > 1)
		return cli_usage(cli, "with --auto no size is given");
	if (cli_number(cli, "host-low", 100, 20, &low) < 0)
		return POSTERN_USAGE;
	bounds.total = memory_of(cli, &code);
	if (bounds.total == 0)
		return code;
	if (cli_size(cli, "floor", bounds.total / 4 / PAGE * PAGE, &bounds.floor) < 0 ||
		cli_size(cli, "ceiling", bounds.total, &bounds.ceiling) < 0)
		return POSTERN_USAGE;
	bounds.host_low = (unsigned)low;
	if (bounds.floor > bounds.ceiling || bounds.ceiling > bounds.total ||
		bounds.floor % PAGE != 0 || bounds.ceiling % PAGE != 0)
		return cli_usage(cli,
			"floor and ceiling are whole pages of 4 KiB, in this order, and no more "
			"than the machine has");
	return balloon_follow(cli, &bounds);
}

static int run_set(struct cli *cli)
{
	struct postern_error error = {0};
	uint64_t bytes, pages;

	if (cli_flag(cli, "auto"))
		return run_auto(cli);
	if (cli->n_words < 2)
		return cli_usage(cli, "how much: PAGES, SIZE or --auto");
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
	.arguments = "VM [PAGES|SIZE]",
	.summary = "Set how much memory the balloon takes from a guest",
	.details = "PAGES counts 4 KiB. 0 gives everything back. --auto takes memory in steps "
		   "while this host\n"
		   "has little and the guest has no pressure, and gives it back when programs of "
		   "the guest wait.",
	.least = 1,
	.most = 2,
	.options = options,
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
