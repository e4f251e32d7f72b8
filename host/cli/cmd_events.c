/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>

#include "host/cli/agent.h"
#include "host/cli/load_condition.h"
#include "host/cli/show.h"
#include "host/cli/style.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/json.h"
#include "proto/client/json_call.h"
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

struct watch {
	const struct cli *cli;
	uint64_t left; /* events still to be shown */
};

/* The one line of a mount, a share or a device that a person wants. */
static void print_subject(const json_t *payload)
{
	const json_t *mount = json_object_get(payload, "mount"),
		     *share = json_object_get(payload, "share");
	const json_t *device = json_object_get(payload, "device"),
		     *sample = json_object_get(payload, "sample");

	if (mount || share) {
		const json_t *what = mount ? mount : share;

		show_words("%s (%s, %s)", agent_text(what, "target"), agent_text(what, "type"),
			agent_text(what, "source"));
	} else if (device) {
		show_words("%s %s", agent_text(device, "subsystem"), agent_text(device, "path"));
	} else if (sample) {
		show_words("load %.2f, cpu %.0f%%, %s available",
			json_number_value(json_object_get(sample, "load1")),
			json_number_value(json_object_get(sample, "cpu_percent")),
			human_bytes(
				json_number_value(json_object_get(sample, "memory_available"))));
	} else {
		show_words("%" JSON_INTEGER_FORMAT " missed", json_field_int(payload, "missed", 0));
	}
}

static void print_line(const struct postern_notification *n, const json_t *payload)
{
	time_t s = (time_t)(n->time_ns / NSEC_PER_SEC);
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&s, &tm))
		(void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
	(void)printf("%s%s.%03u%s %s%-22s%s ", style(stdout, STYLE_DIM), when,
		(unsigned int)(n->time_ns / NSEC_PER_MSEC % 1000), style(stdout, STYLE_PLAIN),
		style(stdout, STYLE_BOLD), n->topic, style(stdout, STYLE_PLAIN));
	print_subject(payload);
	(void)printf("%s\n", n->snapshot ? " [snapshot]" : "");
}

static void on_notification(void *ctx, const struct postern_notification *n)
{
	struct watch *watch = ctx;
	struct method_schema schema;
	json_t *payload = NULL;
	const char *why;

	if (schema_find(n->topic, &schema) < 0 ||
		json_from_message(schema.reply, n->payload, n->payload_len, &payload, &why) < 0)
		payload = json_object();
	if (watch->cli->json) {
		char cursor[64];

		(void)snprintf(cursor, sizeof(cursor), "%" PRIu64 ":%" PRIu64, n->epoch, n->seq);
		(void)cli_json(json_pack("{s:s, s:s, s:I, s:b, s:O}", "topic", n->topic, "cursor",
			cursor, "time_ns", (json_int_t)n->time_ns, "snapshot", n->snapshot,
			"payload", payload));
	} else {
		print_line(n, payload);
	}
	json_decref(payload);
	(void)fflush(stdout);
	if (watch->left > 0)
		watch->left--;
}

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

static int follow(struct postern_client *client, struct watch *watch, uint64_t until)
{
	AUTO_CLOSE int signals = open_signals();
	struct postern_error error = {0};

	while (watch->left > 0) {
		int wait = until == UINT64_MAX ? -1 : ms_until(until), r;

		if (wait == 0)
			return POSTERN_DONE;
		r = postern_client_wait(client, wait, signals, &error);
		if (r > 0)
			return POSTERN_DONE;
		if (r < 0)
			return cli_fail(watch->cli, &error);
	}
	return POSTERN_DONE;
}

/* The conditions given, as a LoadThreshold; *ret NULL: none. */
static int make_threshold(struct cli *cli, json_t **ret)
{
	AUTO_JSON json_t *threshold = json_object();
	const char *when;
	size_t at = 0;

	while ((when = cli_next(cli, "when", &at)))
		if (load_condition_add(threshold, when) < 0)
			return cli_usage(cli,
				"--when: expected load1>N, memory<SIZE, or cpu-, memory- or "
				"io-pressure>PERCENT, not %s",
				when);
	*ret = json_object_size(threshold) > 0 ? take_ptr(threshold) : NULL;
	return POSTERN_DONE;
}

static int make_params(struct cli *cli, json_t **ret)
{
	const char *after = cli_value(cli, "after");
	AUTO_JSON json_t *threshold = NULL;
	json_t *topics;
	uint64_t interval_ms, epoch, seq;

	if (cli_time(cli, "interval", 1000, DAY_MS, 0, &interval_ms) < 0)
		return POSTERN_USAGE;
	if (after && sscanf(after, "%" SCNu64 ":%" SCNu64, &epoch, &seq) != 2)
		return cli_usage(cli, "--after: expected EPOCH:SEQ, as --json prints it");
	if (make_threshold(cli, &threshold) != POSTERN_DONE)
		return POSTERN_USAGE;
	topics = json_array();
	for (int i = 1; i < cli->n_words; i++)
		(void)json_array_append_new(topics, json_string(cli->words[i]));
	if (cli->n_words == 1)
		(void)json_array_append_new(topics, json_string("notify.*"));
	*ret = json_pack("{s:o, s:b, s:I}", "topics", topics, "snapshot", cli_flag(cli, "snapshot"),
		"interval_ms", (json_int_t)interval_ms);
	if (threshold)
		(void)json_object_set(*ret, "threshold", threshold);
	if (after)
		(void)json_object_set_new(*ret, "after",
			json_pack("{s:o, s:I}", "epoch", json_sprintf("%" PRIu64, epoch), "seq",
				(json_int_t)seq));
	return POSTERN_DONE;
}

static int run(struct cli *cli)
{
	struct watch watch = {.cli = cli};
	struct postern_client *client;
	struct postern_error error = {0};
	json_t *params = NULL, *answer;
	uint64_t for_ms;
	int r;

	if (cli_number(cli, "count", UINT32_MAX, UINT64_MAX, &watch.left) < 0 ||
		cli_time(cli, "for", 1, UINT32_MAX, 0, &for_ms) < 0)
		return POSTERN_USAGE;
	r = make_params(cli, &params);
	if (r != POSTERN_DONE)
		return r;
	r = agent_connect(cli, &client);
	if (r == POSTERN_DONE) {
		postern_client_on_notification(client, on_notification, &watch);
		if (json_call_object(
			    client, "notifications.subscribe", params, 0, &answer, &error) < 0) {
			r = cli_fail(cli, &error);
		} else {
			json_decref(answer);
			r = follow(client, &watch,
				for_ms ? monotonic_ns() + for_ms * NSEC_PER_MSEC : UINT64_MAX);
		}
		postern_client_close(client);
	}
	json_decref(params);
	return r;
}

const struct command cmd_events = {
	.name = "events",
	.arguments = "VM [TOPIC...]",
	.summary = "Print what happens in the guest, as it happens",
	.details =
		"Topics may hold '*'; without one all that the policy allows are shown\n"
		"(notify.mounts.*, notify.shares.*, notify.devices.*, notify.system_load).\n"
		"CONDITION is load1>N, memory<SIZE (what is available), or one of cpu-pressure,\n"
		"memory-pressure and io-pressure with >PERCENT; any one that holds is enough.",
	.least = 1,
	.most = -1,
	.options = options,
	.run = run,
};
