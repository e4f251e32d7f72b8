/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/event_follow.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/ending.h"
#include "host/cli/event_show.h"
#include "host/common/fail.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define GOING_MS 2000 /* from the agent's end to the machine's word that it goes down */
#define AGAIN_MS 1000 /* between two looks for an agent that was lost */

struct watch {
	struct cli *cli;
	const struct event_wish *wish;
	char *address;                 /* owned; of the agent */
	struct postern_client *client; /* NULL: none of the guest, or lost */
	struct postern_vm_watch *vm;   /* NULL: an address is followed */
	struct postern_cursor cursor;  /* of the last event */
	bool stopping, ended;          /* the machine, as it said */
	bool lost;                     /* the agent, since it was followed */
	bool asked;                    /* it was asked for events again */
	uint64_t again_ns;             /* when it is looked for again */
	uint64_t left;                 /* events still to be shown */
	uint64_t heard_ns;             /* when the guest told something */
	struct postern_error refusal;  /* of a second subscription */
};

static void on_notification(void *ctx, const struct postern_notification *notification)
{
	struct watch *watch = ctx;

	watch->heard_ns = monotonic_ns();
	watch->cursor =
		(struct postern_cursor){.epoch = notification->epoch, .seq = notification->seq};
	if (watch->left == 0 ||
		(watch->wish->wants && !watch->wish->wants(watch->cli, notification)))
		return;
	watch->left--;
	event_show(watch->cli, notification);
}

/* ---- The machine ---- */

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
	if (watch->wish->machine && watch->wish->wants_vm(watch->cli, event.topic)) {
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

/* ---- The agent ---- */

static void on_begun(void *ctx, const struct postern_error *error,
	const struct postern_subscription *subscription)
{
	struct watch *watch = ctx;

	if (error) {
		watch->refusal = *error;
		watch->refusal.packed = NULL;
		return;
	}
	watch->cursor = subscription->cursor;
	watch->lost = false;
	(void)fprintf(stderr, "postern: the agent is there again\n");
}

/* Asks for what comes behind the last event; what cannot be told any more is a notify.gap. */
static int ask_again(struct watch *watch, struct postern_error *error)
{
	struct postern_subscribe subscribe = watch->wish->subscribe;
	int r;

	subscribe.snapshot = false;
	subscribe.after = &watch->cursor;
	watch->asked = true;
	r = postern_subscribe_start(watch->client, &subscribe, on_notification, on_begun, watch);
	return r < 0 ? fail_errno(error, POSTERN_ABSENT, -r, "events") : 0;
}

static void look_again(struct watch *watch)
{
	const struct postern_options options = {.name = "postern " POSTERN_VERSION};
	struct postern_error error = {0};

	watch->again_ns = monotonic_ns() + AGAIN_MS * NSEC_PER_MSEC;
	watch->asked = false;
	if (postern_client_start(watch->address, &options, &watch->client, &error) < 0)
		watch->client = NULL;
	postern_error_clear(&error);
}

/* The connection has ended. 0 when the machine goes on, or goes down as it said; else -errno, the
 * one of *error. */
static int lose(struct watch *watch, int r, struct postern_error *error)
{
	bool absent = error->failure == POSTERN_ABSENT || error->failure == POSTERN_TIMED_OUT;
	bool down = watch->lost ? watch->stopping || watch->ended : goes_down(watch);

	if (!down && (!watch->vm || !absent))
		return r;
	if (!down && !watch->lost)
		(void)fprintf(stderr, "postern: %s; waiting for the agent\n", error->message);
	postern_error_clear(error);
	postern_client_close(watch->client);
	watch->client = NULL;
	watch->lost = true;
	return 0;
}

static int follow_agent(struct watch *watch, struct postern_error *error)
{
	int r;

	if (!watch->client && watch->lost && !watch->stopping && monotonic_ns() >= watch->again_ns)
		look_again(watch);
	if (!watch->client)
		return 0;
	r = postern_client_dispatch(watch->client, error);
	if (r < 0)
		return lose(watch, r, error);
	if (watch->refusal.failure != POSTERN_DONE) {
		*error = watch->refusal;
		return -EREMOTEIO;
	}
	if (watch->lost && !watch->asked && postern_client_ready(watch->client))
		return ask_again(watch, error);
	return 0;
}

/* ---- Both ---- */

/* Shows what there is, without waiting. 0, or -errno with *error. */
static int show_all(struct watch *watch, struct postern_error *error)
{
	int r = 0;

	/* The machine first: it knows why the guest is lost. */
	while (watch->vm && watch->left > 0 && !watch->ended && (r = show_vm(watch, 0, error)) > 0)
		;
	return r < 0 ? r : follow_agent(watch, error);
}

/* When the guest has been silent for too long. */
static uint64_t silent_at(const struct watch *watch)
{
	return watch->wish->silence_ns ? watch->heard_ns + watch->wish->silence_ns : UINT64_MAX;
}

/* Waits for any of them, until the time at most. False: asked to end. */
static bool wait_any(const struct watch *watch, int signals)
{
	struct pollfd fds[] = {
		{.fd = signals, .events = POLLIN}, {.fd = -1}, {.fd = -1}, {.fd = STDOUT_FILENO}};
	uint64_t until = watch->wish->until_ns, next = UINT64_MAX;

	if (watch->vm && !watch->ended)
		fds[1] = (struct pollfd){.fd = postern_vm_watch_fd(watch->vm), .events = POLLIN};
	if (watch->client) {
		next = postern_client_deadline(watch->client);
		fds[2] = (struct pollfd){.fd = postern_client_fd(watch->client),
			.events = postern_client_events(watch->client)};
	} else if (watch->lost && !watch->stopping) {
		next = watch->again_ns;
	}
	until = next < until ? next : until;
	until = silent_at(watch) < until ? silent_at(watch) : until;
	(void)poll(fds, ARRAY_SIZE(fds), until == UINT64_MAX ? -1 : ms_until(until));
	/* Nobody reads a pipe any more, or a terminal is gone. */
	return !fds[0].revents && !(fds[3].revents & (POLLERR | POLLHUP)) && !ferror(stdout);
}

static int run(struct watch *watch)
{
	/* So that the connection ends properly. */
	static const int ending[] = {SIGINT, SIGTERM};
	AUTO_CLOSE int signals = ending_open(ending, ARRAY_SIZE(ending));
	struct postern_error error = {0};
	int r;

	watch->heard_ns = monotonic_ns();
	do {
		r = show_all(watch, &error);
		if (r == 0 && monotonic_ns() >= silent_at(watch))
			r = fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT,
				"no sign of life of the agent for %.1f s",
				(double)watch->wish->silence_ns / (double)NSEC_PER_SEC);
	} while (r == 0 && watch->left > 0 && (watch->client || !watch->ended) &&
		 monotonic_ns() < watch->wish->until_ns && wait_any(watch, signals));
	return r < 0 ? cli_fail(watch->cli, &error) : POSTERN_DONE;
}

static int start(struct watch *watch)
{
	const struct event_wish *wish = watch->wish;
	struct postern_subscription subscription;
	struct postern_error error = {0};
	struct cli *cli = watch->cli;
	int r;

	if (!strchr(cli->words[0], ':') &&
		postern_vm_watch_open(cli->words[0], wish->machine && wish->subscribe.snapshot,
			&watch->vm, &error) < 0)
		return cli_fail(cli, &error);
	if (wish->subscribe.n_topics == 0)
		return POSTERN_DONE;
	if (postern_vm_address(cli->words[0], &watch->address, &error) < 0)
		return cli_fail(cli, &error);
	r = agent_connect(cli, &watch->client);
	if (r != POSTERN_DONE)
		return r;
	if (postern_subscribe(watch->client, &wish->subscribe, on_notification, watch,
		    &subscription, &error) < 0)
		return cli_fail(cli, &error);
	if (watch->cursor.epoch == 0)
		watch->cursor = subscription.cursor;
	return POSTERN_DONE;
}

int event_follow(struct cli *cli, const struct event_wish *wish)
{
	struct watch watch = {.cli = cli, .wish = wish, .left = wish->most};
	int r = start(&watch);

	if (r == POSTERN_DONE)
		r = run(&watch);
	postern_client_close(watch.client);
	postern_vm_watch_close(watch.vm);
	free(watch.address);
	return r;
}
