/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/command.h"
#include "host/cli/progress.h"
#include "host/lib/postern.h"

static const struct cli_option options[] = {
	{"force", 'f', NULL, "end it at once; the guest is not asked"},
	{"timeout", 't', CLI_TIME, "for a guest whose agent shuts it down, default 10"},
	{0},
};

/* A machine of this name that has ended already. */
static bool has_ended(const char *name)
{
	struct postern_vm *vm = NULL;
	bool ended = postern_vm_info(name, &vm, NULL) == 0 &&
		     postern_vm_status(vm) >= POSTERN_VM_STOPPED &&
		     postern_vm_status(vm) <= POSTERN_VM_TERMINATED;

	postern_vm_free(vm);
	return ended;
}

static int run(struct cli *cli)
{
	const char *name = cli->words[0];
	struct postern_stop stop = {.force = cli_flag(cli, "force")};
	struct postern_error error = {0};
	uint64_t timeout_ms, ms = 0;
	char how[16] = "";
	bool forced;
	int r;

	if (cli_time(cli, "timeout", 1, 600000, 0, &timeout_ms) < 0)
		return POSTERN_USAGE;
	stop.agent_ms = (uint32_t)timeout_ms;
	if (has_ended(name)) {
		if (cli->json)
			return cli_json(json_pack("{s:s, s:b}", "name", name, "was_running", 0));
		(void)puts("Nothing to do - the guest is not running");
		return POSTERN_DONE;
	}
	progress_show("stopping; stop -f ends it at once");
	r = postern_stop(name, &stop, how, &ms, &error);
	progress_end();
	if (r < 0) {
		if (!cli->json && error.failure != POSTERN_ABSENT)
			(void)puts("Failed to stop guest");
		return cli_fail(cli, &error);
	}
	if (cli->json)
		return cli_json(json_pack("{s:s, s:b, s:s, s:I}", "name", name, "was_running", 1,
			"how", how, "stopped_in_ms", (json_int_t)ms));
	forced = strcmp(how, "quit") == 0 || strcmp(how, "kill") == 0;
	(void)printf(forced ? "Guest forced to stop in %" PRIu64 "ms\n"
			    : "Guest finished stopping in %" PRIu64 "ms\n",
		ms);
	return POSTERN_DONE;
}

const struct command cmd_stop = {
	.name = "stop",
	.arguments = "VM",
	.summary = "End a virtual machine: ask its agent, then its power button, then its VMM",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
