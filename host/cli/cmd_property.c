/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys with values, by which the host and programs of a guest tell each other things. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/event_follow.h"
#include "host/cli/files_guest.h"
#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "messages.h"
#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/limits.h"
#include "proto/verify.h"

#define PAGES_MAX 64 /* far more than an agent's properties take */

/* ---- get ---- */

/* A program gets the bytes as they are; a person what does nothing to the terminal. */
static int print_value(const json_t *property)
{
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len = 0;

	if (isatty(STDOUT_FILENO)) {
		show_line("%s", agent_text(property, "value"));
		return POSTERN_DONE;
	}
	if (files_bytes_of(json_object_get(property, "value"), &bytes, &len) < 0)
		return POSTERN_PROTOCOL;
	return (len == 0 || fwrite(bytes, len, 1, stdout) == 1) && fflush(stdout) == 0
		       ? POSTERN_DONE
		       : POSTERN_ANSWERED;
}

static int run_get(struct cli *cli)
{
	json_t *answer;
	int r = agent_call(
		cli, "properties.get", json_pack("{s:s}", "key", cli->words[1]), 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	r = print_value(json_object_get(answer, "property"));
	json_decref(answer);
	return r;
}

const struct command cmd_property_get = {
	.name = "property get",
	.arguments = "VM KEY",
	.summary = "Print a property's value",
	.least = 2,
	.most = 2,
	.run = run_get,
};

/* ---- list ---- */

static void flags_text(const json_t *property, char text[64])
{
	static const char *const flags[] = {
		"read_only_host", "read_only_guest", "world_readable", "ephemeral"};
	static const char *const words[] = {"ro-host", "ro-guest", "world", "ephemeral"};
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (json_field_bool(property, flags[i], false))
			len += (size_t)snprintf(
				text + len, 64 - len, "%s%s", len > 0 ? "," : "", words[i]);
}

static void add_row(struct table *table, const json_t *property)
{
	char flags[64];

	flags_text(property, flags);
	table_cell(table, "%s", agent_text(property, "key"));
	table_cell(table, "%s", agent_text(property, "set_by"));
	if (json_object_get(property, "ttl_left_ms"))
		table_cell(
			table, "%.1f s", (double)json_field_int(property, "ttl_left_ms", 0) / 1000);
	else
		table_cell(table, "-");
	table_cell(table, "%s", flags[0] ? flags : "-");
	table_cell(table, "%s", agent_text(property, "value"));
}

/* Adds a page, whose keys must go on in order, so that there is an end. */
static bool add_page(json_t *all, const json_t *page)
{
	const char *last = agent_text(json_array_get(all, json_array_size(all) - 1), "key");
	json_t *property;
	size_t i;

	json_array_foreach(page, i, property)
	{
		const char *key = agent_text(property, "key");

		if (strcmp(key, last) <= 0 || json_array_append(all, property) < 0)
			return false;
		last = key;
	}
	return true;
}

/* All of them as one array, which the caller owns; or the exit code after saying why. */
static int fetch(struct cli *cli, json_t **ret_all)
{
	struct postern_error error = {0};
	json_t *all = json_array();
	bool more = true;
	int r;

	for (int pages = 0; more; pages++) {
		const char *after =
			agent_text(json_array_get(all, json_array_size(all) - 1), "key");
		json_t *answer = NULL,
		       *params = json_pack("{s:s, s:s}", "prefix",
			       cli->n_words > 1 ? cli->words[1] : "", "after", after);

		r = agent_call(cli, "properties.list", params, 0, &answer);
		if (r == POSTERN_DONE &&
			(pages == PAGES_MAX ||
				!add_page(all, json_object_get(answer, "properties")))) {
			(void)fail(&error, POSTERN_PROTOCOL, 0,
				"the guest lists properties in no order, or without an end");
			r = cli_fail(cli, &error);
		}
		more = json_field_bool(answer, "more", false);
		json_decref(answer);
		if (r != POSTERN_DONE) {
			json_decref(all);
			return r;
		}
	}
	*ret_all = all;
	return POSTERN_DONE;
}

static int run_list(struct cli *cli)
{
	static const struct table_head heads[] = {{"Key", TABLE_LEFT}, {"Set by", TABLE_LEFT},
		{"Time left", TABLE_RIGHT}, {"Flags", TABLE_LEFT}, {"Value", TABLE_LEFT}, {0}};
	static const struct listing properties = {
		.array = "properties", .heads = heads, .add_row = add_row};
	AUTO_JSON json_t *answer = NULL;
	json_t *all = NULL;
	int r = fetch(cli, &all);

	if (r != POSTERN_DONE)
		return r;
	answer = json_pack("{s:o}", "properties", all);
	if (cli->json)
		return cli_json(json_incref(answer));
	listing_print(&properties, answer);
	return POSTERN_DONE;
}

const struct command cmd_property_list = {
	.name = "property list",
	.arguments = "VM [PREFIX]",
	.summary = "Show the properties that host and guest share",
	.least = 1,
	.most = 2,
	.run = run_list,
};

/* ---- set ---- */

static const struct cli_option set_options[] = {
	{"ttl", 't', CLI_TIME, "after so long it is removed"},
	{"world-readable", 'w', CLI_BOOL, "all users of the guest see it"},
	{"read-only-guest", 'r', CLI_BOOL, "only the host changes it"},
	{0},
};

/* Adds a true or false that was given. 0, or an exit code after saying why. */
static int add_bool(struct cli *cli, json_t *params, const char *option, const char *field)
{
	const char *text = cli_value(cli, option);
	bool value = text && strcmp(text, "true") == 0;

	if (!text)
		return POSTERN_DONE;
	if (!value && strcmp(text, "false") != 0)
		return cli_usage(cli, "--%s: expected true or false, not %s", option, text);
	(void)json_object_set_new(params, field, json_boolean(value));
	return POSTERN_DONE;
}

/* What is not given as a word comes by standard input; one byte more than there may be is enough
 * for the agent to say no. 0, or an exit code after saying why. */
static int add_value(struct cli *cli, json_t *params)
{
	static uint8_t bytes[PROPERTY_VALUE_MAX + 1];
	size_t len;

	if (cli->n_words > 2) {
		(void)json_object_set_new(params, "value", files_text(cli->words[2]));
		return POSTERN_DONE;
	}
	len = fread(bytes, 1, sizeof(bytes), stdin);
	if (ferror(stdin)) {
		struct postern_error error = {.failure = POSTERN_USAGE, .sys_errno = errno};

		(void)snprintf(error.message, sizeof(error.message), "standard input: %s",
			strerror(error.sys_errno));
		return cli_fail(cli, &error);
	}
	(void)json_object_set_new(params, "value", files_bytes(bytes, len));
	return POSTERN_DONE;
}

static int run_set(struct cli *cli)
{
	json_t *params = json_pack("{s:s}", "key", cli->words[1]);
	uint64_t ttl_ms;
	int r = POSTERN_DONE;

	if (cli_time(cli, "ttl", 1, PROPERTY_TTL_MS, 0, &ttl_ms) < 0)
		r = POSTERN_USAGE;
	if (r == POSTERN_DONE && ttl_ms > 0)
		(void)json_object_set_new(params, "ttl_ms", json_integer((json_int_t)ttl_ms));
	if (r == POSTERN_DONE)
		r = add_bool(cli, params, "world-readable", "world_readable");
	if (r == POSTERN_DONE)
		r = add_bool(cli, params, "read-only-guest", "read_only_guest");
	if (r == POSTERN_DONE)
		r = add_value(cli, params);
	if (r != POSTERN_DONE) {
		json_decref(params);
		return r;
	}
	return agent_run(cli, "properties.set", params, 0, NULL);
}

const struct command cmd_property_set = {
	.name = "property set",
	.arguments = "VM KEY [VALUE]",
	.summary = "Make or change a property, which programs of the guest may ask for",
	.details =
		"Without VALUE it is standard input. What begins with user/UID/ is that user's;\n"
		"all else only root of the guest sees, unless it is --world-readable true.",
	.least = 2,
	.most = 3,
	.options = set_options,
	.run = run_set,
};

/* ---- remove ---- */

static int run_remove(struct cli *cli)
{
	json_t *params = json_pack("{s:s}", "key", cli->words[1]);

	return agent_run(cli, "properties.remove", params, 0, NULL);
}

const struct command cmd_property_remove = {
	.name = "property remove",
	.arguments = "VM KEY",
	.summary = "Remove a property",
	.least = 2,
	.most = 2,
	.run = run_remove,
};

/* ---- watch ---- */

static const struct cli_option watch_options[] = {
	{"count", 'n', "N", "end after so many changes"},
	{"for", 'f', CLI_TIME, "end after so long"},
	{0},
};

/* Of the prefix, and gaps: what was lost may have been. */
static bool wants(const struct cli *cli, const struct postern_notification *notification)
{
	const Postern__V1__NotifyPropertiesChanged *changed;
	const char *prefix = cli->n_words > 1 ? cli->words[1] : "", *why;
	struct arena arena;
	bool wanted;

	if (strcmp(notification->topic, "notify.properties.changed") != 0)
		return true;
	arena_init(&arena, ARENA_HOST_MAX);
	changed = (const Postern__V1__NotifyPropertiesChanged *)verify_unpack(
		&postern__v1__notify_properties_changed__descriptor, notification->payload,
		notification->payload_len, &verify_host_limits, &arena, &why);
	wanted = changed && changed->property && changed->property->key &&
		 strncmp(changed->property->key, prefix, strlen(prefix)) == 0;
	arena_done(&arena);
	return wanted;
}

static int run_watch(struct cli *cli)
{
	static const char *const topics[] = {"notify.properties.changed"};
	struct event_wish wish = {.wants = wants,
		.until_ns = UINT64_MAX,
		.subscribe = {.topics = topics, .n_topics = 1, .snapshot = true}};
	uint64_t for_ms;

	if (cli_number(cli, "count", UINT32_MAX, UINT64_MAX, &wish.most) < 0 ||
		cli_time(cli, "for", 1, UINT32_MAX, 0, &for_ms) < 0)
		return POSTERN_USAGE;
	if (for_ms > 0)
		wish.until_ns = monotonic_ns() + for_ms * NSEC_PER_MSEC;
	return event_follow(cli, &wish);
}

const struct command cmd_property_watch = {
	.name = "property watch",
	.arguments = "VM [PREFIX]",
	.summary = "Print the properties that there are, and then each change of one",
	.least = 1,
	.most = 2,
	.options = watch_options,
	.run = run_watch,
};
