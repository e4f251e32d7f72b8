/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/event_follow.h"
#include "host/cli/load_condition.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

static const struct cli_option options[] = {
	{"snapshot", 's', NULL, "current state first"},
	{"interval", 'i', CLI_TIME, "between load events, at least 1s"},
	{"when", 'w', "CONDITION", "load events only while this holds; may be repeated"},
	{"count", 'n', "N", "end after so many events"},
	{"for", 'f', CLI_TIME, "end after so long"},
	{"after", 'a', "EPOCH:SEQ", "go on after this event of an earlier run"},
	{0},
};

/* ---- What is asked for ---- */

static bool matches_vm(const char *pattern, const char *topic)
{
	size_t len = strlen(pattern);

	if (len > 0 && pattern[len - 1] == '*')
		return strncmp(pattern, topic, len - 1) == 0;
	return strcmp(pattern, topic) == 0;
}

static bool is_of_vm(const char *word)
{
	return strncmp(word, "vm.", 3) == 0;
}

/* Is this topic of the machine one of the words? Without any, all are. */
static bool wants_vm(const struct cli *cli, const char *topic)
{
	for (int i = 1; i < cli->n_words; i++)
		if (matches_vm(cli->words[i], topic))
			return true;
	return cli->n_words == 1;
}

static int check_vm_topics(struct cli *cli)
{
	static const char *const topics[] = {
		"vm.state", "vm.reset", "vm.share", "vm.memory", "vm.problem"};

	for (int i = 1; i < cli->n_words; i++) {
		bool known = !is_of_vm(cli->words[i]);

		for (size_t j = 0; j < ARRAY_SIZE(topics); j++)
			known = known || matches_vm(cli->words[i], topics[j]);
		if (!known)
			return cli_usage(cli,
				"%s: a machine has vm.state, vm.reset, vm.share, vm.memory and "
				"vm.problem",
				cli->words[i]);
		if (is_of_vm(cli->words[i]) && strchr(cli->words[0], ':'))
			return cli_usage(
				cli, "%s: that is a machine's, not an address's", cli->words[i]);
	}
	return POSTERN_DONE;
}

static int take_threshold(struct cli *cli, struct postern_threshold *threshold)
{
	const char *when;
	size_t at = 0;

	while ((when = cli_next(cli, "when", &at)))
		if (load_condition_add(threshold, when) < 0)
			return cli_usage(cli,
				"--when: expected load1>N, memory<SIZE, or cpu-, memory- or "
				"io-pressure>PERCENT, not %s",
				when);
	return POSTERN_DONE;
}

/* topics has room for all words. */
static int take_options(struct cli *cli, struct postern_subscribe *subscribe,
	struct postern_cursor *after, const char **topics)
{
	const char *text = cli_value(cli, "after");
	uint64_t interval_ms;

	if (cli_time(cli, "interval", 1000, DAY_MS, 0, &interval_ms) < 0)
		return POSTERN_USAGE;
	if (text && sscanf(text, "%" SCNu64 ":%" SCNu64, &after->epoch, &after->seq) != 2)
		return cli_usage(cli, "--after: expected EPOCH:SEQ, as --json prints it");
	*subscribe = (struct postern_subscribe){.topics = topics,
		.snapshot = cli_flag(cli, "snapshot"),
		.interval_ms = (uint32_t)interval_ms,
		.after = text ? after : NULL};
	for (int i = 1; i < cli->n_words; i++)
		if (!is_of_vm(cli->words[i]))
			topics[subscribe->n_topics++] = cli->words[i];
	if (cli->n_words == 1)
		topics[subscribe->n_topics++] = "notify.*";
	if (check_vm_topics(cli) != POSTERN_DONE)
		return POSTERN_USAGE;
	return take_threshold(cli, &subscribe->threshold);
}

static int run(struct cli *cli)
{
	struct event_wish wish = {.wants_vm = wants_vm, .until_ns = UINT64_MAX};
	struct postern_cursor after = {0};
	AUTO_FREE const char **topics = calloc((size_t)cli->n_words + 1, sizeof(*topics));
	uint64_t for_ms;
	int r;

	if (!topics)
		return POSTERN_ANSWERED;
	if (cli_number(cli, "count", UINT32_MAX, UINT64_MAX, &wish.most) < 0 ||
		cli_time(cli, "for", 1, UINT32_MAX, 0, &for_ms) < 0)
		return POSTERN_USAGE;
	r = take_options(cli, &wish.subscribe, &after, topics);
	if (r != POSTERN_DONE)
		return r;
	wish.machine = cli->n_words == 1;
	for (int i = 1; i < cli->n_words; i++)
		wish.machine = wish.machine || is_of_vm(cli->words[i]);
	if (for_ms > 0)
		wish.until_ns = monotonic_ns() + for_ms * NSEC_PER_MSEC;
	return event_follow(cli, &wish);
}

const struct command cmd_events = {
	.name = "events",
	.arguments = "VM [TOPIC...]",
	.summary = "Print what happens in the guest, and to its machine, as it happens",
	.details =
		"Topics may hold '*'; without one all that the policy allows are shown\n"
		"(notify.mounts.*, notify.shares.*, notify.devices.*, notify.system_load), and\n"
		"the machine's own: vm.state, vm.reset, vm.share, vm.memory,\n"
		"vm.problem. With vm.* alone\n"
		"the agent is not needed. An agent that is lost while its machine goes on, as\n"
		"when the guest boots again, is waited for, and events go on behind the last;\n"
		"what cannot be told any more is a notify.gap.\n"
		"CONDITION is load1>N, memory<SIZE (what is available), or one of cpu-pressure,\n"
		"memory-pressure and io-pressure with >PERCENT; any one that holds is enough.",
	.least = 1,
	.most = -1,
	.options = options,
	.run = run,
};
