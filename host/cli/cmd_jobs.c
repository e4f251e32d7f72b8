/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs that run in a guest, or ran: "jobs list", "attach", "signal", "wait", "forget". */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/cli/agent.h"
#include "host/cli/job_run.h"
#include "host/cli/listing.h"
#include "host/common/json_line.h"
#include "host/common/text.h"

#define WAIT_MS 86400000u

/* ---- list ---- */

/* "exited 3", "signal 15", "running". */
static const char *state_of(const json_t *job, char *text, size_t size)
{
	const char *state = json_field_string(job, "state", "");

	if (strcmp(state, "EXITED") == 0)
		(void)snprintf(text, size, "exited %" JSON_INTEGER_FORMAT,
			json_field_int(job, "exit_code", 0));
	else if (strcmp(state, "SIGNALLED") == 0)
		(void)snprintf(text, size, "signal %" JSON_INTEGER_FORMAT,
			json_field_int(job, "signal", 0));
	else
		(void)snprintf(text, size, "%s", agent_words(job, "state", ""));
	return text;
}

static const char *argv_of(const json_t *job, char *text, size_t size)
{
	const json_t *argv = json_object_get(job, "argv"), *word;
	size_t i, len = 0;

	text[0] = '\0';
	json_array_foreach(argv, i, word)
	{
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? " " : "",
			json_is_string(word) ? json_string_value(word) : "?");
		if (len >= size)
			break;
	}
	return text;
}

static void add_row(struct table *table, const json_t *job)
{
	char state[32], argv[512];

	table_cell(table, "%" JSON_INTEGER_FORMAT, json_field_int(job, "job", 0));
	table_cell(table, "%" JSON_INTEGER_FORMAT, json_field_int(job, "pid", 0));
	table_cell(table, "%s", state_of(job, state, sizeof(state)));
	table_cell(table, "%s", agent_text(job, "user"));
	table_cell(table, "%" JSON_INTEGER_FORMAT, json_field_int(job, "attached", 0));
	table_cell(table, "%s", argv_of(job, argv, sizeof(argv)));
}

static int list_run(struct cli *cli)
{
	static const struct table_head heads[] = {{"Job", TABLE_RIGHT}, {"Pid", TABLE_RIGHT},
		{"State", TABLE_LEFT}, {"User", TABLE_LEFT}, {"Attached", TABLE_RIGHT},
		{"Program", TABLE_LEFT}, {0}};
	static const struct listing listing = {"exec.list", "jobs", heads, add_row};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_jobs_list = {
	.name = "jobs list",
	.arguments = "VM",
	.summary = "Programs that run in a guest for us, and how those ended that did",
	.least = 1,
	.most = 1,
	.run = list_run,
};

/* ---- one job ---- */

/* {"job": N} of the second word, or NULL after saying what was expected. */
static json_t *job_params(struct cli *cli)
{
	uint64_t number;

	if (parse_number(cli->words[1], UINT32_MAX, &number) == 0 && number > 0)
		return json_pack("{s:I}", "job", (json_int_t)number);
	(void)cli_usage(cli, "%s: expected a job's number", cli->words[1]);
	return NULL;
}

static const struct cli_option attach_options[] = {
	{"new", 'n', NULL, "begin with what comes now, without what was kept"},
	{"take-over", 't', NULL, "take the place of somebody who is attached"},
	{0},
};

/* Whether it has a terminal, which ours then is. */
static int is_terminal(struct cli *cli, json_int_t number, bool *ret)
{
	const json_t *job;
	json_t *answer;
	size_t i;
	int r = agent_call(cli, "exec.list", NULL, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	json_array_foreach(json_object_get(answer, "jobs"), i,
		job) if (json_field_int(job, "job", 0) == number) *ret =
		json_is_true(json_object_get(job, "terminal"));
	json_decref(answer);
	return POSTERN_DONE;
}

static int attach_run(struct cli *cli)
{
	json_t *params = job_params(cli);
	struct job_run how = {0};
	int r;

	if (!params)
		return POSTERN_USAGE;
	r = is_terminal(cli, json_field_int(params, "job", 0), &how.terminal);
	if (r != POSTERN_DONE) {
		json_decref(params);
		return r;
	}
	(void)json_object_set_new(params, "from_start", json_boolean(!cli_flag(cli, "new")));
	(void)json_object_set_new(params, "take_over", json_boolean(cli_flag(cli, "take-over")));
	return job_run_attach(cli, &how, params);
}

const struct command cmd_jobs_attach = {
	.name = "jobs attach",
	.arguments = "VM JOB",
	.summary = "Join a job: its output, first what was kept of it, and its input",
	.least = 2,
	.most = 2,
	.options = attach_options,
	.run = attach_run,
};

static const struct cli_option signal_options[] = {
	{"only-leader", 'l', NULL, "to the program alone, not to its process group"},
	{0},
};

/* A number, or a name with or without SIG, as Linux has them on x86-64. */
static int parse_signal(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		int number;
	} names[] = {{"HUP", 1}, {"INT", 2}, {"QUIT", 3}, {"ABRT", 6}, {"KILL", 9}, {"USR1", 10},
		{"USR2", 12}, {"PIPE", 13}, {"ALRM", 14}, {"TERM", 15}, {"CONT", 18}, {"STOP", 19},
		{"TSTP", 20}, {"WINCH", 28}};

	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(text, names[i].name) == 0) {
			*ret = (uint64_t)names[i].number;
			return 0;
		}
	return parse_number(text, 64, ret) == 0 && *ret > 0 ? 0 : -EINVAL;
}

static int signal_run(struct cli *cli)
{
	json_t *params = job_params(cli);
	uint64_t number = 15;

	if (!params)
		return POSTERN_USAGE;
	if (cli->n_words > 2 && parse_signal(cli->words[2], &number) < 0) {
		json_decref(params);
		return cli_usage(cli, "%s: expected a signal such as TERM or 15", cli->words[2]);
	}
	(void)json_object_set_new(params, "signal", json_integer((json_int_t)number));
	(void)json_object_set_new(
		params, "only_leader", json_boolean(cli_flag(cli, "only-leader")));
	return agent_run(cli, "exec.signal", params, 0, NULL);
}

const struct command cmd_jobs_signal = {
	.name = "jobs signal",
	.arguments = "VM JOB [SIGNAL]",
	.summary = "Send a signal to a job, TERM by default",
	.least = 2,
	.most = 3,
	.options = signal_options,
	.run = signal_run,
};

static const struct cli_option wait_options[] = {
	{"timeout", 't', CLI_TIME, "wait for at most so long; a day by default"},
	{0},
};

static int wait_run(struct cli *cli)
{
	const json_t *job;
	uint64_t timeout_ms;
	json_t *params, *answer;
	int r;

	if (cli_time(cli, "timeout", 1, WAIT_MS, WAIT_MS, &timeout_ms) < 0)
		return POSTERN_USAGE;
	params = job_params(cli);
	if (!params)
		return POSTERN_USAGE;
	r = agent_call(cli, "exec.wait", params, (uint32_t)timeout_ms, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	job = json_object_get(answer, "job");
	if (strcmp(json_field_string(job, "state", ""), "LOST") == 0) {
		(void)fprintf(stderr, "postern: the agent has lost the program\n");
		r = POSTERN_ANSWERED;
	} else {
		r = (int)json_field_int(job, "exit_code", 128 + json_field_int(job, "signal", 0));
	}
	json_decref(answer);
	return r;
}

const struct command cmd_jobs_wait = {
	.name = "jobs wait",
	.arguments = "VM JOB",
	.summary = "Wait for the end of a job, and have its exit code",
	.details =
		"Of one that a signal ended, 128 and the signal's number. With --json its record.",
	.least = 2,
	.most = 2,
	.options = wait_options,
	.run = wait_run,
};

static int forget_run(struct cli *cli)
{
	json_t *params = job_params(cli);

	return params ? agent_run(cli, "exec.forget", params, 0, NULL) : POSTERN_USAGE;
}

const struct command cmd_jobs_forget = {
	.name = "jobs forget",
	.arguments = "VM JOB",
	.summary = "Drop the record of a job that has ended, and its output",
	.least = 2,
	.most = 2,
	.run = forget_run,
};
