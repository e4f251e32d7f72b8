/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking at files of a guest; cmd_files_change.c changes them. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/cli/files_guest.h"
#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"
#include "proto/clock.h"

#define FOLLOW                                                                                     \
	{                                                                                          \
		"follow-links", 'L', NULL, "let symbolic links be in the path"                     \
	}

static json_t *params_of(struct cli *cli, const struct files_guest *guest)
{
	return json_pack("{s:o, s:b}", "path", files_text(guest->location.path), "follow_links",
		cli_flag(cli, "follow-links"));
}

/* "-rw-r--r--", as ls(1) has it. */
static void mode_text(const json_t *entry, char text[11])
{
	static const struct {
		const char *type;
		char letter;
	} letters[] = {{"FILE_FOLDER", 'd'}, {"FILE_LINK", 'l'}, {"FILE_FIFO", 'p'},
		{"FILE_SOCKET", 's'}, {"FILE_CHARACTER_DEVICE", 'c'}, {"FILE_BLOCK_DEVICE", 'b'},
		{"FILE_NOT_RESPONDING", '?'}};
	unsigned int mode = (unsigned int)json_field_int(entry, "mode", 0);

	(void)snprintf(text, 11, "----------");
	for (size_t i = 0; i < ARRAY_SIZE(letters); i++)
		if (strcmp(agent_text(entry, "type"), letters[i].type) == 0)
			text[0] = letters[i].letter;
	for (int bit = 0; bit < 9; bit++)
		if (mode & (0400u >> bit))
			text[1 + bit] = "rwx"[bit % 3];
	if (mode & 04000)
		text[3] = mode & 0100 ? 's' : 'S';
	if (mode & 02000)
		text[6] = mode & 0010 ? 's' : 'S';
	if (mode & 01000)
		text[9] = mode & 0001 ? 't' : 'T';
}

static void when_text(const json_t *entry, const char *key, char text[32])
{
	time_t s = (time_t)(json_field_int(entry, key, 0) / (int64_t)NSEC_PER_SEC);
	struct tm tm;

	text[0] = '\0';
	if (json_object_get(entry, key) && localtime_r(&s, &tm))
		(void)strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

/* ---- list ---- */

static const struct cli_option list_options[] = {
	{"recursive", 'r', NULL, "also what is in the folders below"},
	FOLLOW,
	{0},
};

static void add_file(struct table *table, const json_t *entry)
{
	char mode[11], when[32];

	mode_text(entry, mode);
	when_text(entry, "modified_ns", when);
	table_cell(table, "%s", mode);
	table_cell(table, "%lld", (long long)json_field_int(entry, "uid", 0));
	table_cell(table, "%lld", (long long)json_field_int(entry, "gid", 0));
	table_cell(table, "%lld", (long long)json_field_int(entry, "size", 0));
	table_cell(table, "%s", when);
	table_cell(table, "%s", agent_text(entry, "path"));
}

static void add_problem(struct table *table, const json_t *problem)
{
	table_cell(table, "%s", agent_text(problem, "path"));
	table_cell(table, "%s", agent_text(problem, "message"));
}

/* The exit code. */
static int show_list(const json_t *answer)
{
	static const struct table_head heads[] = {{"Mode", TABLE_LEFT}, {"Owner", TABLE_RIGHT},
		{"Group", TABLE_RIGHT}, {"Size", TABLE_RIGHT}, {"Modified", TABLE_LEFT},
		{"Name", TABLE_LEFT}, {0}};
	static const struct table_head problem_heads[] = {
		{"Folder", TABLE_LEFT}, {"Problem", TABLE_LEFT}, {0}};
	static const struct listing files = {.array = "files", .heads = heads, .add_row = add_file};
	static const struct listing problems = {
		.array = "problems", .heads = problem_heads, .add_row = add_problem};

	listing_print(&files, answer);
	return listing_problems(&problems, answer);
}

static int run_list(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	json_t *params, *answer;
	int r = files_open(cli, cli->words[0], &guest);

	if (r != POSTERN_DONE)
		return r;
	params = params_of(cli, &guest);
	(void)json_object_set_new(params, "recursive", json_boolean(cli_flag(cli, "recursive")));
	r = files_call(&guest, "files.list", params, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	r = show_list(answer);
	json_decref(answer);
	return r;
}

const struct command cmd_files_list = {
	.name = "files list",
	.arguments = "VM:DIR",
	.summary = "Show what is in a folder of the guest",
	.details = "The guest's setting files_roots names the folders that can be used.",
	.least = 1,
	.most = 1,
	.options = list_options,
	.run = run_list,
};

/* ---- stat ---- */

static const struct cli_option stat_options[] = {
	FOLLOW,
	{0},
};

static void show_file(const json_t *file)
{
	char mode[11], when[32];

	mode_text(file, mode);
	show_line("%s", agent_text(file, "path"));
	show_line("  Type:       %s", agent_words(file, "type", "FILE_"));
	show_line("  Mode:       %s (%04llo)", mode,
		(unsigned long long)json_field_int(file, "mode", 0));
	show_line("  Owner:      %lld, group %lld", (long long)json_field_int(file, "uid", 0),
		(long long)json_field_int(file, "gid", 0));
	if (json_object_get(file, "size"))
		show_line("  Size:       %lld (%s on the disk)",
			(long long)json_field_int(file, "size", 0),
			human_bytes((double)json_field_int(file, "allocated", 0)));
	if (json_object_get(file, "target"))
		show_line("  Leads to:   %s", agent_text(file, "target"));
	if (json_object_get(file, "major"))
		show_line("  Device:     %lld:%lld", (long long)json_field_int(file, "major", 0),
			(long long)json_field_int(file, "minor", 0));
	when_text(file, "modified_ns", when);
	show_line("  Modified:   %s", when);
	when_text(file, "created_ns", when);
	if (when[0])
		show_line("  Created:    %s", when);
}

static int run_stat(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	json_t *answer;
	int r = files_open(cli, cli->words[0], &guest);

	if (r == POSTERN_DONE)
		r = files_call(&guest, "files.stat", params_of(cli, &guest), &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_file(json_object_get(answer, "file"));
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_files_stat = {
	.name = "files stat",
	.arguments = "VM:PATH",
	.summary = "Show what is known of a file of the guest",
	.least = 1,
	.most = 1,
	.options = stat_options,
	.run = run_stat,
};

/* ---- sum ---- */

static const struct cli_option sum_options[] = {
	{"algorithm", 'a', "NAME", "sha256 (the default), sha512, sha384, sha1, md5 or rmd160"},
	FOLLOW,
	{0},
};

static int run_sum(struct cli *cli)
{
	const char *algorithm = cli_value(cli, "algorithm");
	AUTO_FILES struct files_guest guest = {0};
	json_t *params, *answer;
	int r = files_open(cli, cli->words[0], &guest);

	if (r != POSTERN_DONE)
		return r;
	params = params_of(cli, &guest);
	if (algorithm)
		(void)json_object_set_new(params, "algorithm", json_string(algorithm));
	r = files_call(&guest, "files.get_footprint", params, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_line("%s  %s", agent_text(answer, "footprint"), guest.location.path);
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_files_sum = {
	.name = "files sum",
	.arguments = "VM:FILE",
	.summary = "Show the digest of a file of the guest",
	.least = 1,
	.most = 1,
	.options = sum_options,
	.run = run_sum,
};

/* ---- cat ---- */

/* To a terminal nothing goes that moves its cursor. */
static int put_out(const json_t *answer, uint64_t *done)
{
	const json_t *piece;
	size_t i;

	json_array_foreach(json_object_get(answer, "data"), i, piece)
	{
		AUTO_FREE uint8_t *bytes = NULL;
		size_t len;
		int r = files_bytes_of(piece, &bytes, &len);

		if (r < 0)
			return r;
		*done += len;
		if (!isatty(STDOUT_FILENO)) {
			if (fwrite(bytes, 1, len, stdout) != len)
				return -EIO;
			continue;
		}
		for (size_t at = 0; at < len; at++) {
			size_t n = 0;

			while (at + n < len && bytes[at + n] != '\n')
				n++;
			show_words("%.*s", (int)n, (char *)bytes + at);
			at += n;
			if (at < len)
				(void)putchar('\n');
		}
	}
	return fflush(stdout) == 0 ? 0 : -EIO;
}

static int run_cat(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	bool end = false;
	int r = files_open(cli, cli->words[0], &guest);

	for (uint64_t done = 0; r == POSTERN_DONE && !end;) {
		json_t *params = params_of(cli, &guest), *answer;
		uint64_t before = done;

		(void)json_object_set_new(params, "offset", json_integer((json_int_t)done));
		(void)json_object_set_new(params, "length", json_integer(8 << 20));
		r = files_call(&guest, "files.read", params, &answer);
		if (r != POSTERN_DONE)
			break;
		if (put_out(answer, &done) < 0)
			r = cli_usage(cli, "standard output takes no more");
		end = json_is_true(json_object_get(answer, "end")) || done == before;
		json_decref(answer);
	}
	return r;
}

const struct command cmd_files_cat = {
	.name = "files cat",
	.arguments = "VM:FILE",
	.summary = "Print a file of the guest",
	.details = "Large files are better copied (cp).",
	.least = 1,
	.most = 1,
	.options = stat_options,
	.run = run_cat,
};
