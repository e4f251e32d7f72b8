/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/progress.h"
#include "host/cli/show.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define TIMEOUT_MS  60000
#define TIMEOUT_MAX 3600000

static const struct cli_option options[] = {
	{"mode", 'm', "ram|disk|hybrid", "where its state stays, default ram"},
	{"timeout", 't', CLI_TIME, "for it to fall asleep, default 60"},
	{0},
};

static const char *mode_of(const struct cli *cli)
{
	static const char *const modes[][2] = {
		{"ram", "RAM"}, {"disk", "DISK"}, {"hybrid", "HYBRID"}};
	const char *value = cli_value(cli, "mode");

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (!value || strcmp(value, modes[i][0]) == 0)
			return modes[i][1];
	return NULL;
}

/* Until the guest sleeps, or its machine has ended with its state on disk: *ret_state. */
static int wait_for_sleep(struct postern_vm_watch *watch, uint64_t timeout_ms,
	const char **ret_state, struct postern_error *error)
{
	uint64_t deadline = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;

	for (;;) {
		struct postern_vm_event event;
		int r = postern_vm_watch_next(watch, ms_until(deadline), &event, error);
		AUTO_JSON json_t *payload = NULL;
		const char *state = "ended"; /* as the supervisor has, when nobody tells any more */

		if (r == 0)
			return fail(error, POSTERN_TIMED_OUT, ETIMEDOUT,
				"the guest said that it would, and did not fall asleep, or woke at "
				"once: postern logs may say why");
		if (r < 0 && r != -ECONNRESET)
			return r;
		if (r > 0 && strcmp(event.topic, "vm.state") != 0)
			continue;
		if (r > 0) {
			payload = json_loads(event.payload, 0, NULL);
			state = json_field_string(payload, "state", "");
		}
		if (strcmp(state, "asleep") == 0 || strcmp(state, "ended") == 0) {
			*ret_state = state[0] == 'a' ? "asleep" : "ended";
			return 0;
		}
	}
}

static int run_watched(struct cli *cli, const char *mode, uint64_t timeout_ms,
	struct postern_vm_watch *watch, struct postern_error *error)
{
	AUTO_JSON json_t *answer = NULL;
	const char *state = NULL;
	int r = agent_call(cli, "power.suspend", json_pack("{s:s}", "mode", mode), 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	progress_show("falling asleep");
	r = watch ? wait_for_sleep(watch, timeout_ms, &state, error) : 0;
	progress_end();
	if (r < 0)
		return cli_fail(cli, error);
	if (state)
		(void)json_object_set_new(answer, "state", json_string(state));
	if (cli->json)
		return cli_json(json_incref(answer));
	if (!state)
		show_line("The guest falls asleep");
	else if (state[0] == 'a')
		show_line("The guest %s sleeps; resume wakes it", cli->words[0]);
	else
		show_line(
			"The guest %s sleeps on its disk: launch it again to go on", cli->words[0]);
	return POSTERN_DONE;
}

static int run(struct cli *cli)
{
	const char *mode = mode_of(cli);
	struct postern_error error = {0};
	struct postern_vm_watch *watch = NULL;
	uint64_t timeout_ms;
	int r;

	if (!mode)
		return cli_usage(cli, "--mode: ram, disk or hybrid");
	if (cli_time(cli, "timeout", 1, TIMEOUT_MAX, TIMEOUT_MS, &timeout_ms) < 0)
		return POSTERN_USAGE;
	/* An agent that no supervisor of ours looks after is believed. */
	if (!strchr(cli->words[0], ':') &&
		postern_vm_watch_open(cli->words[0], false, &watch, &error) < 0)
		return cli_fail(cli, &error);
	r = run_watched(cli, mode, timeout_ms, watch, &error);
	postern_vm_watch_close(watch);
	return r;
}

const struct command cmd_suspend = {
	.name = "suspend",
	.arguments = "VM",
	.summary = "Have a guest put itself to sleep",
	.details = "Its programs stand still until \"resume\" wakes it. With disk its machine "
		   "ends, and the guest\n"
		   "goes on from its swap at the next launch. Programs in the guest's folder of "
		   "hooks may refuse.\n"
		   "Of a sleep in memory QEMU 7.2's firmware (SeaBIOS 1.16) comes back with the "
		   "machine's power\n"
		   "management off: the guest wakes from the next such sleep at once, and "
		   "cannot switch the machine\n"
		   "off by itself, until it is launched anew.",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
