/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_tell.h"

#include <stdio.h>
#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/table.h"

/* A line at once, so that whoever waits for it reads it. */
static void say(json_t *line)
{
	(void)json_dumpf(line, stdout, JSON_COMPACT);
	(void)putchar('\n');
	(void)fflush(stdout);
	json_decref(line);
}

static json_t *spec_json(const struct forward_spec *spec)
{
	char from[FORWARD_SPEC_TEXT], to[FORWARD_SPEC_TEXT];

	forward_spec_print(spec, "", true, from);
	forward_spec_print(spec, "", false, to);
	return json_pack("{s:s, s:s, s:s}", "listens", spec->guest_listens ? "guest" : "host",
		"from", from + (spec->guest_listens ? 1 : 0), "to",
		to + (spec->guest_listens ? 0 : 1));
}

void forward_tell_start(struct forward_tell *tell)
{
	for (size_t i = 0; i < tell->n; i++) {
		char from[FORWARD_SPEC_TEXT], to[FORWARD_SPEC_TEXT];

		if (tell->cli->json) {
			json_t *line = spec_json(&tell->specs[i]);

			(void)json_object_set_new(line, "event", json_string("listening"));
			say(line);
			continue;
		}
		forward_spec_print(&tell->specs[i], tell->vm, true, from);
		forward_spec_print(&tell->specs[i], tell->vm, false, to);
		(void)printf("%s -> %s\n", from, to);
	}
	(void)fflush(stdout);
}

void forward_tell_event(struct forward_tell *tell, const char *event, const char *sentence)
{
	if (tell->cli->json)
		say(json_pack("{s:s}", "event", event));
	else
		(void)fprintf(stderr, "postern: %s\n", sentence);
}

void forward_tell_failed(
	struct forward_tell *tell, const struct forward_spec *spec, int32_t sys_errno)
{
	char to[FORWARD_SPEC_TEXT];
	const char *why = sys_errno > 0 ? strerrordesc_np(sys_errno) : NULL;
	json_t *line;

	if (!tell->cli->json) {
		forward_spec_print(spec, tell->vm, false, to);
		(void)fprintf(stderr, "postern: %s: %s\n", to, why ? why : "failed");
		return;
	}
	line = spec_json(spec);
	(void)json_object_set_new(line, "event", json_string("failed"));
	(void)json_object_set_new(line, "sys_errno", json_integer(sys_errno));
	say(line);
}

void forward_tell_add(struct forward_tell *tell, const struct forward_spec *spec, uint64_t to_guest,
	uint64_t from_guest)
{
	tell->to_guest[spec - tell->specs] += to_guest;
	tell->from_guest[spec - tell->specs] += from_guest;
}

static void tell_json(struct forward_tell *tell)
{
	json_t *list = json_array();

	for (size_t i = 0; i < tell->n; i++) {
		const struct forward_spec *spec = &tell->specs[i];
		json_int_t to_guest = (json_int_t)spec->to_guest,
			   from_guest = (json_int_t)spec->from_guest;
		json_t *counts = spec_json(spec);

		to_guest += (json_int_t)tell->to_guest[i];
		from_guest += (json_int_t)tell->from_guest[i];
		(void)json_object_update_new(
			counts, json_pack("{s:I, s:I, s:I, s:I, s:I}", "connections",
					(json_int_t)spec->connections, "open",
					(json_int_t)spec->open, "failed", (json_int_t)spec->failed,
					"to_guest", to_guest, "from_guest", from_guest));
		(void)json_array_append_new(list, counts);
	}
	say(json_pack("{s:s, s:o}", "event", "counts", "forwards", list));
}

void forward_tell_counts(struct forward_tell *tell)
{
	static const struct table_head heads[] = {{"From", TABLE_LEFT}, {"To", TABLE_LEFT},
		{"Connections", TABLE_RIGHT}, {"Open", TABLE_RIGHT}, {"Failed", TABLE_RIGHT},
		{"To guest", TABLE_RIGHT}, {"From guest", TABLE_RIGHT}, {0}};
	char from[FORWARD_SPEC_TEXT], to[FORWARD_SPEC_TEXT];
	struct table table;

	if (tell->cli->json)
		tell_json(tell);
	else
		table_init(&table, heads);
	for (size_t i = 0; i < tell->n && !tell->cli->json; i++) {
		const struct forward_spec *spec = &tell->specs[i];

		forward_spec_print(spec, tell->vm, true, from);
		forward_spec_print(spec, tell->vm, false, to);
		table_cell(&table, "%s", from);
		table_cell(&table, "%s", to);
		table_cell(&table, "%ju", (uintmax_t)spec->connections);
		table_cell(&table, "%ju", (uintmax_t)spec->open);
		table_cell(&table, "%ju", (uintmax_t)spec->failed);
		table_cell(&table, "%s", human_bytes((double)(spec->to_guest + tell->to_guest[i])));
		table_cell(&table, "%s",
			human_bytes((double)(spec->from_guest + tell->from_guest[i])));
	}
	if (!tell->cli->json)
		table_print(&table, stderr);
	memset(tell->to_guest, 0, sizeof(tell->to_guest));
	memset(tell->from_guest, 0, sizeof(tell->from_guest));
}
