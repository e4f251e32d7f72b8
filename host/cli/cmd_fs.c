/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's file systems as a whole; freezing them is cmd_fs_freeze.c's. */
#include <stdio.h>
#include <string.h>

#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

/* Words from the second on are mount points. */
static json_t *targets_of(const struct cli *cli)
{
	json_t *targets = json_array();

	for (int i = 1; i < cli->n_words; i++)
		(void)json_array_append_new(targets, json_string(cli->words[i]));
	return targets;
}

static void add_problem(struct table *table, const json_t *problem)
{
	table_cell(table, "%s", agent_text(json_object_get(problem, "filesystem"), "target"));
	table_cell(table, "%s", agent_text(problem, "message"));
}

/* Those that did not do, and the exit code. */
static int show_problems(const json_t *answer)
{
	static const struct table_head heads[] = {
		{"Target", TABLE_LEFT}, {"Problem", TABLE_LEFT}, {0}};
	static const struct listing problems = {
		.array = "problems", .heads = heads, .add_row = add_problem};

	return listing_problems(&problems, answer);
}

/* ---- status ---- */

static int run_status(struct cli *cli)
{
	const json_t *fs;
	json_t *answer;
	size_t i;
	int r = agent_call(cli, "filesystems.status", NULL, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	if (!json_object_get(answer, "lease"))
		show_line("Nothing is frozen through the agent");
	else
		show_line("Lease %lld of %s, for another %.1f s",
			(long long)json_field_int(answer, "lease", 0), agent_text(answer, "holder"),
			(double)json_field_int(answer, "left_ms", 0) / 1000);
	json_array_foreach(json_object_get(answer, "frozen"), i, fs)
	{
		show_line("  %s (%s)", agent_text(fs, "target"), agent_text(fs, "type"));
	}
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_fs_status = {
	.name = "fs status",
	.arguments = "VM",
	.summary = "Show which file systems of the guest are frozen, and for how long",
	.least = 1,
	.most = 1,
	.run = run_status,
};

/* ---- thaw ---- */

static const struct cli_option thaw_options[] = {
	{"everything", 'a', NULL, "also what was not frozen through the agent"},
	{0},
};

static int run_thaw(struct cli *cli)
{
	const json_t *fs;
	json_t *answer;
	size_t i;
	int r = agent_call(cli, "filesystems.thaw",
		json_pack("{s:b}", "everything", cli_flag(cli, "everything")), 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	json_array_foreach(json_object_get(answer, "thawed"), i, fs)
	{
		show_line("%s is thawed", agent_text(fs, "target"));
	}
	if (i == 0)
		show_line("Nothing was frozen");
	r = show_problems(answer);
	if (json_object_get(answer, "hook_problem"))
		show_line("But %s", agent_text(answer, "hook_problem"));
	json_decref(answer);
	return r;
}

const struct command cmd_fs_thaw = {
	.name = "fs thaw",
	.arguments = "VM",
	.summary = "Let writes to frozen file systems of the guest go on",
	.least = 1,
	.most = 1,
	.options = thaw_options,
	.run = run_thaw,
};

/* ---- trim ---- */

static const struct cli_option trim_options[] = {
	{"minimum", 'm', "SIZE", "pass over smaller pieces of free space"},
	{0},
};

static void add_trimmed(struct table *table, const json_t *trimmed)
{
	table_cell(table, "%s", agent_text(json_object_get(trimmed, "filesystem"), "target"));
	table_cell(table, "%s", human_bytes((double)json_field_int(trimmed, "bytes", 0)));
}

static int run_trim(struct cli *cli)
{
	static const struct table_head heads[] = {
		{"Target", TABLE_LEFT}, {"Trimmed", TABLE_RIGHT}, {0}};
	static const struct listing trimmed = {
		.array = "trimmed", .heads = heads, .add_row = add_trimmed};
	uint64_t minimum;
	json_t *answer;
	int r;

	if (cli_size(cli, "minimum", 0, &minimum) < 0)
		return POSTERN_USAGE;
	r = agent_call(cli, "filesystems.trim",
		json_pack("{s:o, s:I}", "targets", targets_of(cli), "minimum", (json_int_t)minimum),
		0, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	listing_print(&trimmed, answer);
	r = show_problems(answer);
	json_decref(answer);
	return r;
}

const struct command cmd_fs_trim = {
	.name = "fs trim",
	.arguments = "VM [DIR...]",
	.summary = "Tell the guest's disks which blocks nothing uses any more",
	.details = "Without a DIR: all file systems on disks that can be trimmed. A second time "
		   "there may\n"
		   "be less to tell: file systems remember.",
	.least = 1,
	.most = 65,
	.options = trim_options,
	.run = run_trim,
};

/* ---- sync ---- */

static int run_sync(struct cli *cli)
{
	json_t *params = json_pack("{s:o}", "targets", targets_of(cli));

	return agent_run(cli, "filesystems.sync", params, 0, NULL);
}

const struct command cmd_fs_sync = {
	.name = "fs sync",
	.arguments = "VM [DIR...]",
	.summary = "Have the guest write to disk what waits in its memory",
	.least = 1,
	.most = 65,
	.run = run_sync,
};
