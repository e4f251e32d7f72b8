/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/event_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/cli/agent.h"
#include "host/cli/show.h"
#include "host/cli/style.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/json.h"
#include "proto/clock.h"

static void show_property(const json_t *payload, const json_t *property)
{
	const char *change = agent_words(payload, "change", "PROPERTY_");

	if (strcmp(change, "set") != 0)
		show_words("%s %s", agent_text(property, "key"), change);
	else if (json_object_get(property, "value"))
		show_words("%s = %s", agent_text(property, "key"), agent_text(property, "value"));
	else
		show_words("%s, %" JSON_INTEGER_FORMAT " bytes", agent_text(property, "key"),
			json_field_int(payload, "value_bytes", 0));
	if (agent_text(payload, "by")[0])
		show_words(" by %s", agent_text(payload, "by"));
}

static void show_program(const json_t *payload, const json_t *program)
{
	json_int_t silent = json_field_int(payload, "silent_ms", -1);

	show_words("%s of user %" JSON_INTEGER_FORMAT, agent_text(program, "name"),
		json_field_int(program, "uid", 0));
	if (silent >= 0)
		show_words(" is there again after %.1f s", (double)silent / 1000);
	else
		show_words(" is %s, last seen %.1f s ago",
			agent_words(program, "state", "HEARTBEAT_"),
			(double)json_field_int(program, "last_beat_ago_ms", 0) / 1000);
}

/* What a person wants to know of a mount, a share, a device. */
static void show_subject(const char *topic, const json_t *payload)
{
	const json_t *mount = json_object_get(payload, "mount"),
		     *share = json_object_get(payload, "share");
	const json_t *device = json_object_get(payload, "device"),
		     *sample = json_object_get(payload, "sample"),
		     *job = json_object_get(payload, "job"),
		     *property = json_object_get(payload, "property"),
		     *program = json_object_get(payload, "program");

	if (property) {
		show_property(payload, property);
		return;
	}
	if (program) {
		show_program(payload, program);
		return;
	}
	if (job) {
		show_words("%" JSON_INTEGER_FORMAT " %s", json_field_int(job, "job", 0),
			agent_joined(job, "argv"));
		return;
	}
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
	} else if (strcmp(topic, "notify.heartbeat.agent") == 0) {
		show_words("up %.0f s, %" JSON_INTEGER_FORMAT " programs, %" JSON_INTEGER_FORMAT
			   " missed",
			(double)json_field_int(payload, "uptime_ms", 0) / 1000,
			json_field_int(payload, "programs", 0),
			json_field_int(payload, "missed", 0));
	} else if (strcmp(topic, "notify.gap") == 0) {
		show_words("%" JSON_INTEGER_FORMAT " missed", json_field_int(payload, "missed", 0));
	} else {
		/* What has no words of its own is told as it is. */
		AUTO_FREE char *text = json_dumps(payload, JSON_COMPACT | JSON_ENSURE_ASCII);

		show_words("%s", text ? text : "");
	}
}

static void show_vm_subject(const char *topic, const json_t *payload)
{
	if (strcmp(topic, "vm.state") == 0)
		show_words("%s", json_field_string(payload, "state", ""));
	else if (strcmp(topic, "vm.share") == 0)
		show_words("%s %s", json_field_string(payload, "tag", ""),
			json_field_string(payload, "what", ""));
	else if (strcmp(topic, "vm.problem") == 0)
		show_words("%s: %s", json_field_string(payload, "problem", ""),
			json_field_string(payload, "help", ""));
	else if (strcmp(topic, "vm.memory") == 0)
		show_words("%s plugged",
			human_bytes((double)json_field_int(payload, "plugged_bytes", 0)));
	else if (strcmp(topic, "vm.reset") == 0)
		show_words("the guest boots again");
}

static void show_head(const char *topic, uint64_t time_ns)
{
	time_t s = (time_t)(time_ns / NSEC_PER_SEC);
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&s, &tm))
		(void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
	(void)printf("%s%s.%03u%s %s%-22s%s ", style(stdout, STYLE_DIM), when,
		(unsigned int)(time_ns / NSEC_PER_MSEC % 1000), style(stdout, STYLE_PLAIN),
		style(stdout, STYLE_BOLD), topic, style(stdout, STYLE_PLAIN));
}

static void show_end(bool snapshot)
{
	(void)puts(snapshot ? " [snapshot]" : "");
	(void)fflush(stdout);
}

static json_t *to_json(const char *topic, uint64_t time_ns, bool snapshot, json_t *payload)
{
	return json_pack("{s:s, s:I, s:b, s:O}", "topic", topic, "time_ns", (json_int_t)time_ns,
		"snapshot", snapshot, "payload", payload);
}

void event_show(const struct cli *cli, const struct postern_notification *n)
{
	struct method_schema schema;
	AUTO_JSON json_t *payload = NULL;
	const char *why;

	if (schema_find(n->topic, &schema) < 0 ||
		json_from_message(schema.reply, n->payload, n->payload_len, &payload, &why) < 0)
		payload = json_object();
	if (cli->json) {
		json_t *event = to_json(n->topic, n->time_ns, n->snapshot, payload);

		(void)json_object_set_new(
			event, "cursor", json_sprintf("%" PRIu64 ":%" PRIu64, n->epoch, n->seq));
		(void)cli_json(event);
		(void)fflush(stdout);
		return;
	}
	show_head(n->topic, n->time_ns);
	show_subject(n->topic, payload);
	show_end(n->snapshot);
}

void event_show_vm(const struct cli *cli, const struct postern_vm_event *event)
{
	AUTO_JSON json_t *payload = json_loads(event->payload, 0, NULL);

	if (!payload)
		payload = json_object();
	if (cli->json) {
		(void)cli_json(to_json(event->topic, event->time_ns, event->snapshot, payload));
		(void)fflush(stdout);
		return;
	}
	show_head(event->topic, event->time_ns);
	show_vm_subject(event->topic, payload);
	show_end(event->snapshot);
}
