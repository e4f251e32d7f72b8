/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changes in the guest, and telling the guest what has changed. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.pb-c.h"
#include "host/cli/files_guest.h"
#include "host/cli/grant.h"
#include "host/cli/show.h"
#include "host/cli/table.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/client/json.h"
#include "proto/limits.h"
#include "proto/record.h"

/* ---- watch ---- */

static const struct cli_option watch_options[] = {
	{"recursive", 'r', NULL, "also what changes in the folders below"},
	{"window", 'w', "MS", "tell together what happens within so many milliseconds (100)"},
	{0},
};

/* "created,modified": short words, since one line is one path. */
static void show_kinds(const json_t *change)
{
	const json_t *kind;
	size_t i;

	json_array_foreach(json_object_get(change, "kinds"), i, kind)
	{
		const char *word = json_is_string(kind) ? json_string_value(kind) : "?";

		if (strncmp(word, "FILE_", strlen("FILE_")) == 0)
			word += strlen("FILE_");
		show_words("%s", i > 0 ? "," : "");
		for (; *word; word++)
			show_words("%c", *word == '_' ? ' ' : tolower((unsigned char)*word));
	}
}

static void show_change(const json_t *change)
{
	show_kinds(change);
	show_words("  %s%s", agent_text(change, "path"),
		json_field_bool(change, "folder", false) ? "/" : "");
	if (json_object_get(change, "old_path"))
		show_words("  (was %s)", agent_text(change, "old_path"));
	(void)putchar('\n');
}

/* One record. 0; 1: it was the last one. */
static int show_record(struct cli *cli, const struct record_reader *in)
{
	const Postern__V1__FilesWatchRecord *record = in->record;
	bool last = record->kind_case == POSTERN__V1__FILES_WATCH_RECORD__KIND_END;
	AUTO_JSON json_t *json = NULL;
	const json_t *problem;
	const char *why;

	if (json_from_message(&postern__v1__files_watch_record__descriptor, in->body, in->len,
		    &json, &why) < 0)
		return 0;
	problem = json_object_get(json, "problem");
	if (cli->json)
		(void)cli_json(json_incref(json));
	else if (record->kind_case == POSTERN__V1__FILES_WATCH_RECORD__KIND_CHANGE)
		show_change(json_object_get(json, "change"));
	else if (record->kind_case == POSTERN__V1__FILES_WATCH_RECORD__KIND_OVERFLOW)
		show_line("overflow  changes were lost: look at all of it again");
	else if (problem)
		show_line("not watched  %s: %s", agent_text(problem, "path"),
			agent_text(problem, "message"));
	else
		show_line("end  %s", agent_text(json_object_get(json, "end"), "message"));
	return last;
}

/* Until the watch ends. 0, or -errno with the error. */
static int follow(struct cli *cli, int fd, struct record_reader *in, struct postern_error *error)
{
	for (;;) {
		struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
		int r;

		while ((r = record_next(in)) > 0)
			if (show_record(cli, in))
				return 0;
		if (r < 0)
			return fail(error, POSTERN_PROTOCOL, EBADMSG,
				"the guest sends what is no record of a watch");
		if (fflush(stdout) != 0)
			return fail(error, POSTERN_ANSWERED, EPIPE, "standard output is closed");
		(void)poll(wait, ARRAY_SIZE(wait), -1);
		/* Of a pipe, or of a terminal that is gone. */
		if (wait[1].revents & (POLLERR | POLLHUP))
			return fail(error, POSTERN_ANSWERED, EPIPE, "standard output is closed");
		if (!(wait[0].revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		r = (int)frame_read(&in->frames, fd);
		if (r <= 0 && r != -EAGAIN)
			return fail(error, POSTERN_ABSENT, r < 0 ? -r : ECONNRESET,
				"the watch was cut");
	}
}

static int run_watch(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	struct postern_error error = {0};
	struct record_reader in;
	AUTO_CLOSE int fd = -EBADF;
	uint64_t window;
	json_t *params;
	int r = cli_number(cli, "window", 60000, 100, &window) < 0 ? POSTERN_USAGE : POSTERN_DONE;

	if (r == POSTERN_DONE)
		r = files_open(cli, cli->words[0], &guest);
	if (r != POSTERN_DONE)
		return r;
	params = json_pack("{s:o, s:b, s:I}", "path", files_text(guest.location.path), "recursive",
		cli_flag(cli, "recursive"), "window_ms", (json_int_t)window);
	r = grant_call(guest.client, "files.watch", params, "channel", &fd, &error);
	if (r == 0) {
		record_reader_init(&in, &postern__v1__files_watch_record__descriptor,
			&verify_host_limits, WATCH_RECORD_MAX);
		r = follow(cli, fd, &in, &error);
		record_reader_done(&in);
	}
	return r < 0 ? cli_fail(cli, &error) : POSTERN_DONE;
}

const struct command cmd_files_watch = {
	.name = "files watch",
	.arguments = "VM:DIR",
	.summary = "Show what changes in a folder of the guest",
	.details =
		"As it happens, whoever in the guest changes it; what is changed on this side of\n"
		"a share is not seen there. Ends when the folder is removed, renamed or unmounted.",
	.least = 1,
	.most = 1,
	.options = watch_options,
	.run = run_watch,
};

/* ---- touched ---- */

/* Those of which not all could be told, and the exit code. */
static int show_problems(const json_t *answer)
{
	static const struct table_head heads[] = {{"Problem", TABLE_LEFT}, {0}};
	int r = POSTERN_DONE;
	struct table table;
	const json_t *file;
	size_t i;

	table_init(&table, heads);
	json_array_foreach(json_object_get(answer, "files"), i, file)
	{
		if (!json_object_get(file, "message"))
			continue;
		table_cell(&table, "%s", agent_text(file, "message"));
		r = POSTERN_ANSWERED;
	}
	if (r != POSTERN_DONE)
		table_print(&table, stderr);
	return r;
}

static int run_touched(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	json_t *paths, *answer = NULL;
	int r = files_open(cli, cli->words[0], &guest);

	if (r != POSTERN_DONE)
		return r;
	paths = json_pack("[o]", files_text(guest.location.path));
	for (int i = 1; i < cli->n_words; i++)
		(void)json_array_append_new(paths, files_text(cli->words[i]));
	r = files_call(&guest, "files.touched", json_pack("{s:o}", "paths", paths), &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	r = show_problems(answer);
	json_decref(answer);
	return r;
}

const struct command cmd_files_touched = {
	.name = "files touched",
	.arguments = "VM:PATH [PATH...]",
	.summary = "Tell programs of the guest that files of a share were changed here",
	.details = "What watches them in the guest (inotify) hears it. Whoever watches them here "
		   "hears\n"
		   "it too: compare size and time before telling again.",
	.least = 1,
	.most = 1024,
	.run = run_touched,
};
