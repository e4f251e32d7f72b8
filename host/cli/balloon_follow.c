/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/balloon_follow.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/ending.h"
#include "host/cli/show.h"
#include "host/lib/postern.h"
#include "notifications.pb-c.h"
#include "proto/cleanup.h"
#include "proto/client/subscribe.h"
#include "proto/clock.h"

#define PAGE    4096u
#define LOOK_MS 5000

struct follow {
	struct cli *cli;
	struct balloon_rule rule;
	struct postern_client *client; /* NULL: the agent is lost */
	unsigned pressure;             /* told since the last look */
	int signals;
};

static void on_pressure(void *ctx, const struct postern_notification *notification)
{
	struct follow *follow = ctx;
	Postern__V1__NotifyMemoryPressure *told = postern__v1__notify_memory_pressure__unpack(
		NULL, notification->payload_len, notification->payload);
	unsigned level =
		told && told->level == POSTERN__V1__MEMORY_PRESSURE_LEVEL__PRESSURE_FULL ? 2 : 1;

	if (told && level > follow->pressure)
		follow->pressure = level;
	if (told)
		postern__v1__notify_memory_pressure__free_unpacked(told, NULL);
}

static int listen_to_guest(struct follow *follow, struct postern_error *error)
{
	static const char *const topics[] = {"notify.memory.pressure"};
	const struct postern_subscribe wish = {.topics = topics, .n_topics = 1};
	AUTO_FREE char *address = NULL;
	int r = postern_vm_address(follow->cli->words[0], &address, error);

	if (r == 0)
		r = postern_client_open(address, NULL, &follow->client, error);
	if (r == 0)
		r = postern_subscribe(follow->client, &wish, on_pressure, follow, NULL, error);
	if (r < 0) {
		postern_client_close(follow->client);
		follow->client = NULL;
	}
	return r;
}

/* Percent of this host's memory that a program could have. */
static unsigned host_available(void)
{
	AUTO_FILE FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long total = 0, available = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		(void)sscanf(line, "MemTotal: %llu", &total);
		(void)sscanf(line, "MemAvailable: %llu", &available);
	}
	return total > 0 ? (unsigned)(available * 100 / total) : 0;
}

static uint64_t find_stat(const struct postern_stat *stats, const char *label)
{
	for (size_t i = 0; i < POSTERN_BALLOON_STATS; i++)
		if (strcmp(stats[i].label, label) == 0)
			return stats[i].value;
	return POSTERN_STAT_UNKNOWN;
}

static int look(struct follow *follow, struct balloon_view *ret, struct postern_error *error)
{
	struct postern_stat stats[POSTERN_BALLOON_STATS];
	int r = postern_balloon_stats(follow->cli->words[0], stats, error);
	uint64_t pages = r < 0 ? POSTERN_STAT_UNKNOWN : find_stat(stats, "current-pages");
	uint64_t total = follow->rule.bounds.total;

	if (r < 0)
		return r;
	*ret = (struct balloon_view){.now_ms = monotonic_ns() / NSEC_PER_MSEC,
		.left = pages == POSTERN_STAT_UNKNOWN || pages > total / PAGE
				? total
				: total - pages * PAGE,
		.guest_available = find_stat(stats, "available-memory"),
		.host_available = host_available(),
		.pressure = follow->pressure,
		.heard = follow->client != NULL};
	follow->pressure = 0;
	return 0;
}

static void tell(
	const struct follow *follow, const struct balloon_view *view, enum balloon_reason reason)
{
	static const char *const words[] = {[BALLOON_BOUNDS] = "bounds",
		[BALLOON_GIVEN] = "pressure",
		[BALLOON_TAKEN] = "host",
		[BALLOON_HOST_FULL] = "host-full"};
	static const char *const sentences[] = {[BALLOON_BOUNDS] = "by its bounds",
		[BALLOON_GIVEN] = "since its programs wait for memory",
		[BALLOON_TAKEN] = "since this host has little",
		[BALLOON_HOST_FULL] = "though its programs wait: this host has nothing to give"};

	if (follow->cli->json)
		(void)cli_json(json_pack("{s:s, s:s, s:I, s:I, s:i}", "name", follow->cli->words[0],
			"reason", words[reason], "left", (json_int_t)follow->rule.target, "before",
			(json_int_t)view->left, "host_available_percent",
			(int)view->host_available));
	else
		show_line("%s is left with %s, %s", follow->cli->words[0],
			human_bytes((double)follow->rule.target), sentences[reason]);
	(void)fflush(stdout);
}

/* One look, and what follows from it. 0 or -errno with *error. */
static int turn(struct follow *follow, struct postern_error *error)
{
	struct balloon_view view;
	enum balloon_reason reason;
	int r = look(follow, &view, error);

	if (r < 0)
		return r;
	reason = balloon_rule_next(&follow->rule, &view);
	if (reason == BALLOON_KEPT)
		return 0;
	if (reason != BALLOON_HOST_FULL)
		r = postern_balloon(follow->cli->words[0],
			(follow->rule.bounds.total - follow->rule.target) / PAGE, error);
	if (r == 0)
		tell(follow, &view, reason);
	return r;
}

/* Until the next look, pressure, or a signal (1). */
static int wait_for_next(struct follow *follow)
{
	uint64_t until = monotonic_ns() + LOOK_MS * NSEC_PER_MSEC;

	while (monotonic_ns() < until && follow->pressure == 0) {
		int r;

		if (!follow->client) {
			struct pollfd wait = {.fd = follow->signals, .events = POLLIN};

			return poll(&wait, 1, ms_until(until)) > 0;
		}
		r = postern_client_wait(follow->client, ms_until(until), follow->signals, NULL);
		if (r == 1)
			return 1;
		if (r < 0) {
			postern_client_close(follow->client);
			follow->client = NULL;
		}
	}
	return 0;
}

int balloon_follow(struct cli *cli, const struct balloon_bounds *bounds)
{
	static const int ending[] = {SIGINT, SIGTERM};
	AUTO_CLOSE int signals = ending_open(ending, ARRAY_SIZE(ending));
	struct follow follow = {.cli = cli, .rule.bounds = *bounds, .signals = signals};
	struct postern_error error = {0};
	int r = listen_to_guest(&follow, &error);

	while (r == 0) {
		r = turn(&follow, &error);
		if (r < 0 || wait_for_next(&follow) == 1)
			break;
		if (!follow.client && listen_to_guest(&follow, &error) < 0)
			postern_error_clear(&error);
	}
	postern_client_close(follow.client);
	return r < 0 ? cli_fail(cli, &error) : POSTERN_DONE;
}
