/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/mount_option.h"
#include "host/common/fail.h"
#include "host/common/text.h"
#include "proto/client/json_call.h"
#include "proto/client/json_text.h"

const char *cli_next(const struct cli *cli, const char *name, size_t *at)
{
	while (*at < cli->n_given) {
		size_t i = (*at)++;

		if (strcmp(cli->command->options[cli->given[i]].name, name) == 0)
			return cli->values[i];
	}
	return NULL;
}

const char *cli_value(const struct cli *cli, const char *name)
{
	const char *last = NULL, *value;
	size_t at = 0;

	while ((value = cli_next(cli, name, &at)))
		last = value;
	return last;
}

bool cli_flag(const struct cli *cli, const char *name)
{
	return cli_value(cli, name) != NULL;
}

int cli_json(json_t *value)
{
	int r = json_print(value, 0, stdout);

	json_decref(value);
	return r < 0 ? POSTERN_ANSWERED : POSTERN_DONE;
}

int cli_fail(const struct cli *cli, struct postern_error *error)
{
	int code = error->failure == POSTERN_DONE ? POSTERN_ANSWERED : (int)error->failure;
	const json_t *holders;
	json_t *details;

	(void)fflush(stdout);
	(void)fprintf(stderr, "postern: %s%s%s%s%s\n", error->message,
		error->rule[0] ? " (rule " : "", error->rule, error->rule[0] ? ")" : "",
		error->outcome == POSTERN_UNKNOWN ? "; whether it took effect is not known" : "");
	details = json_from_error(error);
	holders = json_object_get(json_object_get(details, "details"), "holders");
	if (cli->json)
		(void)cli_json(json_pack("{s:O}", "error", details));
	else if (json_array_size(holders) > 0)
		holders_print(holders, stderr);
	json_decref(details);
	postern_error_clear(error);
	return code;
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
	struct postern_error error = {.failure = POSTERN_USAGE};
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error.message, sizeof(error.message), format, args);
	va_end(args);
	(void)fflush(stdout);
	if (cli->command)
		(void)fprintf(stderr, "postern %s: %s\nTry \"postern %s --help\".\n",
			cli->command->name, error.message, cli->command->name);
	else
		(void)fprintf(stderr, "postern: %s\nTry \"postern --help\".\n", error.message);
	if (cli->json)
		(void)cli_json(json_pack("{s:o}", "error", json_from_error(&error)));
	return POSTERN_USAGE;
}

int cli_number(const struct cli *cli, const char *name, uint64_t highest, uint64_t otherwise,
	uint64_t *ret_value)
{
	const char *value = cli_value(cli, name);

	*ret_value = otherwise;
	if (!value || parse_number(value, highest, ret_value) == 0)
		return 0;
	(void)cli_usage(cli, "--%s: a number up to %llu", name, (unsigned long long)highest);
	return -1;
}

int cli_size(const struct cli *cli, const char *name, uint64_t otherwise, uint64_t *ret_bytes)
{
	const char *value = cli_value(cli, name);

	*ret_bytes = otherwise;
	if (!value || parse_size(value, UINT64_C(1) << 20, ret_bytes) == 0)
		return 0;
	(void)cli_usage(cli, "--%s: a size such as 512M or 2G (a bare number counts MiB)", name);
	return -1;
}

int cli_time(const struct cli *cli, const char *name, uint64_t lowest_ms, uint64_t highest_ms,
	uint64_t otherwise, uint64_t *ret_ms)
{
	const char *value = cli_value(cli, name);
	int r;

	*ret_ms = otherwise;
	if (!value)
		return 0;
	r = parse_duration(value, ret_ms);
	if (r == 0 && *ret_ms >= lowest_ms && *ret_ms <= highest_ms)
		return 0;
	if (r == -EINVAL)
		(void)cli_usage(cli,
			"--%s: a time such as 10, 1.5, 500ms or 2m (a bare number counts seconds)",
			name);
	else
		(void)cli_usage(cli, "--%s: a time from %.10g to %.10g s", name,
			(double)lowest_ms / 1000, (double)highest_ms / 1000);
	return -1;
}
