/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "host/cli/job_run.h"
#include "host/cli/log_follow.h"
#include "host/cli/log_time.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "proto/cleanup.h"

#define LINES_MAX 100000

static const struct cli_option options[] = {
	{"follow", 'f', NULL, "the last ten lines, and then what comes"},
	{"lines", 'n', "N", "the last N lines"},
	{"kernel", 'k', NULL, "only what the kernel says"},
	{"unit", 'u', "UNIT", "of this systemd unit, or about it; may be repeated"},
	{"identifier", 't', "NAME", "of programs that call themselves so; may be repeated"},
	{"priority", 'p', "PRIORITY",
		"this urgent or more: emerg, alert, crit, err, warning, "
		"notice, info, debug, or 0 to 7"},
	{"since", 'S', "WHEN",
		"from then on: 2026-01-31 18:30:00, 18:30, yesterday, -1h, @SECONDS"},
	{"until", 'U', "WHEN", "up to then"},
	{"boot", 'b', "BOOT", "0: this boot, as without it; -1: the one before, ...; all"},
	{"grep", 'g', "TEXT", "lines with this in it; case counts where it has upper case"},
	{"after", 'a', "CURSOR", "what comes behind the entry that had this"},
	{"output", 'o', "FORM", "short, iso or json"},
	{0},
};

static int take_priority(struct cli *cli, json_t *params)
{
	static const char *const names[] = {
		"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};
	const char *value = cli_value(cli, "priority");
	uint64_t priority;

	if (!value)
		return 0;
	for (priority = 0; priority < ARRAY_SIZE(names); priority++)
		if (strcasecmp(value, names[priority]) == 0)
			break;
	if (priority == ARRAY_SIZE(names) &&
		parse_number(value, ARRAY_SIZE(names) - 1, &priority) < 0)
		return cli_usage(cli, "--priority: emerg, alert, crit, err, warning, notice, info, "
				      "debug, or 0 to 7");
	return json_object_set_new(params, "priority", json_integer((json_int_t)priority));
}

static int take_moment(struct cli *cli, json_t *params, const char *name, const char *field)
{
	const char *value = cli_value(cli, name);
	int64_t us;

	if (!value)
		return 0;
	if (parse_moment(value, time(NULL), &us) < 0)
		return cli_usage(cli,
			"--%s: a time such as \"2026-01-31 18:30:00\", 18:30, today, yesterday, "
			"-1h, \"1h ago\" or @1700000000",
			name);
	return json_object_set_new(params, field, json_integer(us));
}

static int take_boot(struct cli *cli, json_t *params)
{
	const char *value = cli_value(cli, "boot");
	uint64_t back = 0;

	if (!value)
		return 0;
	if (strcmp(value, "all") == 0)
		return json_object_set_new(params, "all_boots", json_true());
	if (parse_number(value + (value[0] == '-'), INT32_MAX, &back) < 0 ||
		(back > 0 && value[0] != '-'))
		return cli_usage(cli, "--boot: 0, -1, -2 and so on, or all");
	return json_object_set_new(params, "boot", json_integer(-(json_int_t)back));
}

static void add_words(struct cli *cli, json_t *params, const char *name, const char *field)
{
	json_t *words = json_array();
	const char *value;
	size_t at = 0;

	while ((value = cli_next(cli, name, &at)))
		(void)json_array_append_new(words, job_bytes(value));
	(void)json_object_set_new(params, field, words);
}

static int take_form(struct cli *cli, enum log_form *ret)
{
	static const char *const names[] = {
		[LOG_SHORT] = "short", [LOG_ISO] = "iso", [LOG_JSON] = "json"};
	const char *value = cli_value(cli, "output");

	*ret = cli->json ? LOG_JSON : LOG_SHORT;
	for (size_t i = 0; value && i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*ret = (enum log_form)i;
			return 0;
		}
	return value ? cli_usage(cli, "--output: short, iso or json") : 0;
}

static int take_options(struct cli *cli, json_t *params)
{
	const char *text = cli_value(cli, "grep"), *after = cli_value(cli, "after");
	uint64_t lines;
	int r;

	if (cli_flag(cli, "follow"))
		(void)json_object_set_new(params, "follow", json_true());
	if (cli_flag(cli, "kernel"))
		(void)json_object_set_new(params, "sources", json_pack("[s]", "KERNEL"));
	if (cli_number(cli, "lines", LINES_MAX, 0, &lines) < 0)
		return POSTERN_USAGE;
	if (cli_flag(cli, "lines"))
		(void)json_object_set_new(params, "lines", json_integer((json_int_t)lines));
	if (text)
		(void)json_object_set_new(params, "text", job_bytes(text));
	if (after)
		(void)json_object_set_new(params, "cursor", job_bytes(after));
	add_words(cli, params, "unit", "units");
	add_words(cli, params, "identifier", "identifiers");
	r = take_priority(cli, params);
	if (r == 0)
		r = take_moment(cli, params, "since", "since_us");
	if (r == 0)
		r = take_moment(cli, params, "until", "until_us");
	return r ? r : take_boot(cli, params);
}

static int run(struct cli *cli)
{
	AUTO_JSON json_t *params = json_object();
	enum log_form form;
	int r = take_form(cli, &form);

	if (r == 0)
		r = take_options(cli, params);
	return r ? r : log_follow(cli, params, form);
}

const struct command cmd_logs = {
	.name = "logs",
	.arguments = "VM",
	.summary = "Show the guest's kernel log and its journal",
	.details =
		"As journalctl(1) shows them, of this boot; a guest without a journal shows what\n"
		"its kernel says. With --follow an agent that is lost while its machine goes on,\n"
		"as when the guest boots again, is waited for, and lines go on behind the last.\n"
		"Times are this machine's time zone, and the guest's clock.",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
