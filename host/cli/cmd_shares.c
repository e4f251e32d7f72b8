/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/command.h"
#include "host/cli/progress.h"
#include "host/lib/postern.h"

static const struct cli_option add_options[] = {
	{"read-only", 'r', NULL, "the guest cannot write; enforced on the host"},
	{"persistent", 'p', NULL, "comes back when guest and machine are started again"},
	{"tag", 0, "TAG", "the device's name in the guest (default: made up)"},
	{"wait", 0, CLI_TIME, "for the guest to find the device, default 10"},
	{0},
};

static int run_add(struct cli *cli)
{
	struct postern_share share = {
		.tag = cli_value(cli, "tag"),
		.source = cli->words[1],
		.target = cli->words[2],
		.read_only = cli_flag(cli, "read-only"),
		.persistent = cli_flag(cli, "persistent"),
	};
	struct postern_error error = {0};
	char tag[37];
	uint64_t wait_ms;
	int r;

	if (cli_time(cli, "wait", 1, 600000, 0, &wait_ms) < 0)
		return POSTERN_USAGE;
	progress_show("plugging and mounting");
	r = postern_share_add(cli->words[0], &share, (uint32_t)wait_ms, tag, &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s, s:s, s:b}", "tag", tag, "source",
			share.source, "target", share.target, "read_only", share.read_only));
	(void)printf("%s is at %s in the guest (tag %s)\n", share.source, share.target, tag);
	return POSTERN_DONE;
}

const struct command cmd_shares_add = {
	.name = "shares add",
	.arguments = "VM HOST_DIR GUEST_DIR",
	.summary = "Share a folder of the host with a running guest",
	.details = "Plugs a virtiofs device and has the agent mount it; if one half fails, nothing "
		   "of\n"
		   "it is left.",
	.least = 3,
	.most = 3,
	.options = add_options,
	.run = run_add,
};

static const struct cli_option remove_options[] = {
	{"lazy", 'l', NULL, "also while files are in use there"},
	{0},
};

static int run_remove(struct cli *cli)
{
	struct postern_error error = {0};
	int r;

	progress_show("unmounting and unplugging");
	r = postern_share_remove(cli->words[0], cli->words[1], cli_flag(cli, "lazy"), &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s}", "removed", cli->words[1]));
	(void)printf("%s is unmounted and unplugged\n", cli->words[1]);
	return POSTERN_DONE;
}

const struct command cmd_shares_remove = {
	.name = "shares remove",
	.arguments = "VM GUEST_DIR|TAG",
	.summary = "Take a shared folder away from a running guest",
	.details =
		"Has the agent unmount it, then unplugs the device. A dead share is removed too.",
	.least = 2,
	.most = 2,
	.options = remove_options,
	.run = run_remove,
};
