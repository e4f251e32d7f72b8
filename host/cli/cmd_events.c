/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "host/cli/agent.h"
#include "host/cli/event_show.h"
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

#define GOING_MS 2000 /* from the agent's end to the machine's word that it goes down */

/* What is followed: the guest's events, the machine's own, or both. */
struct watch {
	struct cli *cli;
	struct postern_client *client; /* NULL: none of the guest */
	struct postern_vm_watch *vm;   /* NULL: none of the machine */
	bool stopping, ended;          /* the machine, as it said */
	uint64_t left;                 /* events still to be shown */
};

static void on_notification(void *ctx, const struct postern_notification *notification)
{
	struct watch *watch = ctx;

	if (watch->left == 0)
		return;
	watch->left--;
	event_show(watch->cli, notification);
}

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
	static const char *const topics[] = {"vm.state", "vm.reset", "vm.share", "vm.problem"};

	for (int i = 1; i < cli->n_words; i++) {
		bool known = !is_of_vm(cli->words[i]);

		for (size_t j = 0; j < ARRAY_SIZE(topics); j++)
			known = known || matches_vm(cli->words[i], topics[j]);
		if (!known)
			return cli_usage(cli,
				"%s: a machine has vm.state, vm.reset, vm.share and "
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

/* ---- Following ---- */

/* Ctrl-C and the like as a descriptor, so that the connection ends properly. */
static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool is_state(const struct postern_vm_event *event, const char *payload)
{
	return strcmp(event->topic, "vm.state") == 0 && strcmp(event->payload, payload) == 0;
}

/* Shows the next that the machine tells within the time. 1, 0 for none, or -errno with *error. */
static int show_vm(struct watch *watch, int timeout_ms, struct postern_error *error)
{
	struct postern_vm_event event;
	int r = postern_vm_watch_next(watch->vm, timeout_ms, &event, error);

	if (r <= 0)
		return r;
	watch->ended = watch->ended || is_state(&event, "{\"state\":\"ended\"}");
	watch->stopping = watch->stopping || is_state(&event, "{\"state\":\"stopping\"}");
	if (wants_vm(watch->cli, event.topic)) {
		watch->left--;
		event_show_vm(watch->cli, &event);
	}
	return 1;
}

/* The agent is lost: because the machine goes down? That may be told a moment later. */
static bool goes_down(struct watch *watch)
{
	uint64_t until = monotonic_ns() + GOING_MS * NSEC_PER_MSEC;
	struct postern_error error = {0};

	while (watch->vm && watch->left > 0 && !watch->stopping && !watch->ended)
		if (show_vm(watch, ms_until(until), &error) <= 0)
			break;
	postern_error_clear(&error);
	return watch->stopping || watch->ended;
}

/* Waits for any of them, until the time (UINT64_MAX: for ever) at most. False: asked to end. */
static bool wait_any(const struct watch *watch, int signals, uint64_t until)
{
	struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = -1}, {.fd = -1}};

	if (watch->vm && !watch->ended)
		fds[1] = (struct pollfd){.fd = postern_vm_watch_fd(watch->vm), .events = POLLIN};
	if (watch->client) {
		uint64_t deadline = postern_client_deadline(watch->client);

		fds[2] = (struct pollfd){.fd = postern_client_fd(watch->client),
			.events = postern_client_events(watch->client)};
		until = deadline < until ? deadline : until;
	}
	(void)poll(fds, ARRAY_SIZE(fds), until == UINT64_MAX ? -1 : ms_until(until));
	return !fds[0].revents;
}

/* Shows what there is, without waiting. 0, or -errno with *error. */
static int show_all(struct watch *watch, struct postern_error *error)
{
	int r = 0;

	/* The machine first: it knows why the guest is lost. */
	while (watch->vm && watch->left > 0 && !watch->ended && (r = show_vm(watch, 0, error)) > 0)
		;
	if (r < 0 || !watch->client)
		return r;
	r = postern_client_dispatch(watch->client, error);
	if (r < 0 && goes_down(watch)) {
		/* What is left is the machine's end. */
		postern_error_clear(error);
		postern_client_close(watch->client);
		watch->client = NULL;
		r = 0;
	}
	return r;
}

static int follow(struct watch *watch, uint64_t until)
{
	AUTO_CLOSE int signals = open_signals();
	struct postern_error error = {0};
	int r;

	do
		r = show_all(watch, &error);
	while (r == 0 && watch->left > 0 && (watch->client || !watch->ended) &&
		monotonic_ns() < until && wait_any(watch, signals, until));
	return r < 0 ? cli_fail(watch->cli, &error) : POSTERN_DONE;
}

static int start(struct watch *watch, const struct postern_subscribe *subscribe)
{
	struct cli *cli = watch->cli;
	struct postern_error error = {0};
	bool vm = !strchr(cli->words[0], ':') && cli->n_words == 1;
	int r;

	for (int i = 1; i < cli->n_words; i++)
		vm = vm || is_of_vm(cli->words[i]);
	if (vm && postern_vm_watch_open(cli->words[0], subscribe->snapshot, &watch->vm, &error) < 0)
		return cli_fail(cli, &error);
	if (subscribe->n_topics == 0)
		return POSTERN_DONE;
	r = agent_connect(cli, &watch->client);
	if (r == POSTERN_DONE && postern_subscribe(watch->client, subscribe, on_notification, watch,
					 NULL, &error) < 0)
		r = cli_fail(cli, &error);
	return r;
}

static int run(struct cli *cli)
{
	struct watch watch = {.cli = cli};
	struct postern_subscribe subscribe = {0};
	struct postern_cursor after = {0};
	AUTO_FREE const char **topics = calloc((size_t)cli->n_words + 1, sizeof(*topics));
	uint64_t for_ms;
	int r;

	if (!topics)
		return POSTERN_ANSWERED;
	if (cli_number(cli, "count", UINT32_MAX, UINT64_MAX, &watch.left) < 0 ||
		cli_time(cli, "for", 1, UINT32_MAX, 0, &for_ms) < 0)
		return POSTERN_USAGE;
	r = take_options(cli, &subscribe, &after, topics);
	if (r != POSTERN_DONE)
		return r;
	r = start(&watch, &subscribe);
	if (r == POSTERN_DONE)
		r = follow(&watch, for_ms ? monotonic_ns() + for_ms * NSEC_PER_MSEC : UINT64_MAX);
	postern_client_close(watch.client);
	postern_vm_watch_close(watch.vm);
	return r;
}

const struct command cmd_events = {
	.name = "events",
	.arguments = "VM [TOPIC...]",
	.summary = "Print what happens in the guest, and to its machine, as it happens",
	.details =
		"Topics may hold '*'; without one all that the policy allows are shown\n"
		"(notify.mounts.*, notify.shares.*, notify.devices.*, notify.system_load), and\n"
		"the machine's own: vm.state, vm.reset, vm.share, vm.problem. With vm.* alone\n"
		"the agent is not needed.\n"
		"CONDITION is load1>N, memory<SIZE (what is available), or one of cpu-pressure,\n"
		"memory-pressure and io-pressure with >PERCENT; any one that holds is enough.",
	.least = 1,
	.most = -1,
	.options = options,
	.run = run,
};
