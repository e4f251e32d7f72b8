/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/job_run.h"
#include "host/common/json_line.h"

static const struct cli_option options[] = {
	{"env", 'e', "NAME[=VALUE]", "a variable for the program; without a value: ours"},
	{"cwd", 'C', "DIR", "its folder; the user's home by default"},
	{"user", 'u', "USER", "as whom, name or number; root by default"},
	{"group", 'g', "GROUP", "its group; the user's by default"},
	{"tty", 't', NULL, "give it a terminal"},
	{"timeout", 'T', CLI_TIME, "end it when it has run for so long"},
	{"detach", 'd', NULL, "leave it: print the job's number; jobs has its end and its output"},
	{"memory", 0, "SIZE", "of a control group of its own: the most memory"},
	{"pids", 0, "N", "... the most processes and threads"},
	{"cpu", 0, "PERCENT", "... of one processor's time, 250: two and a half"},
	{0},
};

/* Those that were given, ours where no value was. */
static json_t *make_env(struct cli *cli)
{
	json_t *env = json_array();
	const char *value;
	size_t at = 0;

	while ((value = cli_next(cli, "env", &at))) {
		const char *ours = strchr(value, '=') ? NULL : getenv(value);
		char *text = NULL;

		if (ours && asprintf(&text, "%s=%s", value, ours) < 0)
			text = NULL;
		if (text || strchr(value, '='))
			(void)json_array_append_new(env, job_bytes(text ? text : value));
		free(text);
	}
	return env;
}

static int add_cgroup(struct cli *cli, json_t *params)
{
	uint64_t memory, pids, cpu;
	json_t *cgroup;

	if (cli_size(cli, "memory", 0, &memory) < 0 ||
		cli_number(cli, "pids", UINT32_MAX, 0, &pids) < 0 ||
		cli_number(cli, "cpu", 1000000, 0, &cpu) < 0)
		return -1;
	if (!memory && !pids && !cpu)
		return 0;
	cgroup = json_pack("{s:I, s:I, s:I}", "memory_max", (json_int_t)memory, "pids_max",
		(json_int_t)pids, "cpu_percent", (json_int_t)cpu);
	return json_object_set_new(params, "cgroup", cgroup);
}

static void add_text(struct cli *cli, json_t *params, const char *name)
{
	const char *value = cli_value(cli, name);

	if (value)
		(void)json_object_set_new(params, name, job_bytes(value));
}

static int run(struct cli *cli)
{
	struct job_run how = {.terminal = cli_flag(cli, "tty"), .detach = cli_flag(cli, "detach")};
	const char *stream = how.detach ? "SPOOL" : "CHANNEL";
	json_t *argv = json_array(), *params;
	uint64_t timeout_ms;

	if (cli_time(cli, "timeout", 1, UINT64_C(365) * DAY_MS, 0, &timeout_ms) < 0) {
		json_decref(argv);
		return POSTERN_USAGE;
	}
	for (int i = 1; i < cli->n_words; i++)
		(void)json_array_append_new(argv, job_bytes(cli->words[i]));
	params = json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:I}", "argv", argv, "env",
		make_env(cli), "input", how.detach ? "NOWHERE" : "CHANNEL", "output", stream,
		"errors", stream, "on_disconnect", how.detach ? "KEEP" : "DISCONNECT_UNSPECIFIED",
		"deadline_ms", (json_int_t)timeout_ms);
	add_text(cli, params, "cwd");
	add_text(cli, params, "user");
	add_text(cli, params, "group");
	if (how.terminal)
		(void)json_object_set_new(params, "terminal", job_terminal());
	if (add_cgroup(cli, params) < 0) {
		json_decref(params);
		return POSTERN_USAGE;
	}
	return job_run_start(cli, &how, params);
}

const struct command cmd_exec = {
	.name = "exec",
	.arguments = "VM -- PROGRAM [ARGUMENT...]",
	.summary = "Run a program in a guest, with our input and output",
	.details =
		"No shell is between. Its exit code is ours; of one that a signal ended, 128 and "
		"the\n"
		"signal's number. Interrupts go to it; the third ends this command, and with it\n"
		"the program. With --json its record is the last line of standard error.",
	.least = 2,
	.most = -1,
	.options = options,
	.run = run,
};
