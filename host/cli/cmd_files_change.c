/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changing files of a guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/files_guest.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

/* Says in JSON, or not at all, that it is done. */
static int say_done(struct cli *cli, int r)
{
	return r == POSTERN_DONE && cli->json ? cli_json(json_object()) : r;
}

/* ---- put ---- */

/* One file on its way. */
struct putting {
	struct files_guest *guest;
	int fd;         /* borrowed */
	uint8_t *piece; /* FILES_PIECE bytes; borrowed */
	size_t len;     /* of what is in it */
	json_t *part;   /* owned: the path of the file that it is written to at first */
};

/* As much as there is. 0 or -errno. */
static int fill(struct putting *putting)
{
	for (putting->len = 0; putting->len < FILES_PIECE;) {
		ssize_t n = read(
			putting->fd, putting->piece + putting->len, FILES_PIECE - putting->len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		putting->len += (size_t)n;
	}
	return 0;
}

static int write_piece(struct putting *putting)
{
	return files_call(putting->guest, "files.write",
		json_pack("{s:O, s:o, s:b}", "path", putting->part, "data",
			files_bytes(putting->piece, putting->len), "append", true),
		NULL);
}

/* A new one is everybody's to read; one in the place of another is what that was. */
static int make_alike(struct putting *putting)
{
	const char *path = putting->guest->location.path;
	json_t *answer = NULL;
	const json_t *old;
	int64_t mode = 0644;
	bool absent;
	int r = files_try(putting->guest, "files.stat",
		json_pack("{s:o}", "path", files_text(path)), &answer, &absent);

	old = json_object_get(answer, "file");
	if (r == POSTERN_DONE && !absent && strcmp(agent_text(old, "type"), "FILE_REGULAR") == 0) {
		mode = json_field_int(old, "mode", 0600);
		r = files_call(putting->guest, "files.set_owner",
			json_pack("{s:O, s:I, s:I}", "path", putting->part, "uid",
				(json_int_t)json_field_int(old, "uid", 0), "gid",
				(json_int_t)json_field_int(old, "gid", 0)),
			NULL);
	}
	json_decref(answer);
	if (r != POSTERN_DONE)
		return r;
	return files_call(putting->guest, "files.set_mode",
		json_pack("{s:O, s:I}", "path", putting->part, "mode", (json_int_t)mode), NULL);
}

/* The folder of a path, as a field. */
static json_t *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? files_text("/") : files_bytes(path, (size_t)(slash - path));
}

static int begin_part(struct putting *putting)
{
	json_t *answer = NULL;
	int r = files_call(putting->guest, "files.temporary",
		json_pack("{s:o}", "path", folder_of(putting->guest->location.path)), &answer);

	putting->part = json_incref(json_object_get(answer, "path"));
	json_decref(answer);
	return r;
}

/* Written beside its place, in pieces, and then put there. */
static int put_pieces(struct putting *putting)
{
	const char *path = putting->guest->location.path;
	int r = begin_part(putting);

	if (r != POSTERN_DONE)
		return r;
	while (r == POSTERN_DONE && putting->len > 0) {
		int filled;

		r = write_piece(putting);
		filled = r == POSTERN_DONE ? fill(putting) : 0;
		if (filled < 0)
			r = cli_usage(putting->guest->cli, "what is put cannot be read: %s",
				strerror(-filled));
	}
	if (r == POSTERN_DONE)
		r = make_alike(putting);
	if (r == POSTERN_DONE)
		r = files_call(putting->guest, "files.flush",
			json_pack("{s:O}", "path", putting->part), NULL);
	if (r == POSTERN_DONE)
		r = files_call(putting->guest, "files.rename",
			json_pack("{s:O, s:o, s:b}", "path", putting->part, "target",
				files_text(path), "replace", true),
			NULL);
	if (r != POSTERN_DONE)
		(void)files_call(putting->guest, "files.remove",
			json_pack("{s:O}", "path", putting->part), NULL);
	json_decref(putting->part);
	return r;
}

static int run_put(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	AUTO_FREE uint8_t *piece = malloc(FILES_PIECE);
	AUTO_CLOSE int fd = strcmp(cli->words[0], "-") == 0
				    ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
				    : open(cli->words[0], O_RDONLY | O_CLOEXEC);
	struct putting putting = {.guest = &guest, .fd = fd, .piece = piece};
	int r = fd < 0 ? -errno : piece ? fill(&putting) : -ENOMEM;

	if (r < 0)
		return cli_usage(cli, "%s: %s", cli->words[0], strerror(-r));
	r = files_open(cli, cli->words[1], &guest);
	if (r != POSTERN_DONE)
		return r;
	if (putting.len < FILES_PIECE)
		r = files_call(&guest, "files.replace",
			json_pack("{s:o, s:o}", "path", files_text(guest.location.path), "data",
				files_bytes(piece, putting.len)),
			NULL);
	else
		r = put_pieces(&putting);
	return say_done(cli, r);
}

const struct command cmd_files_put = {
	.name = "files put",
	.arguments = "FILE|- VM:FILE",
	.summary = "Put a file into the guest, whole, in one step",
	.details = "Owner and mode of a file that is replaced are kept.",
	.least = 2,
	.most = 2,
	.run = run_put,
};

/* ---- rm ---- */

static const struct cli_option rm_options[] = {
	{"recursive", 'r', NULL, "a folder with all that is in it"},
	{0},
};

static int run_rm(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	int r = files_open(cli, cli->words[0], &guest);

	if (r == POSTERN_DONE)
		r = files_call(&guest, "files.remove",
			json_pack("{s:o, s:b}", "path", files_text(guest.location.path),
				"recursive", cli_flag(cli, "recursive")),
			NULL);
	return say_done(cli, r);
}

const struct command cmd_files_rm = {
	.name = "files rm",
	.arguments = "VM:PATH",
	.summary = "Remove a file of the guest, or a folder",
	.least = 1,
	.most = 1,
	.options = rm_options,
	.run = run_rm,
};

/* ---- mkdir ---- */

static const struct cli_option mkdir_options[] = {
	{"parents", 'p', NULL, "the folders above it too, and be content with one that is there"},
	{0},
};

static int run_mkdir(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	int r = files_open(cli, cli->words[0], &guest);

	if (r == POSTERN_DONE)
		r = files_call(&guest, "files.mkdir",
			json_pack("{s:o, s:b}", "path", files_text(guest.location.path), "parents",
				cli_flag(cli, "parents")),
			NULL);
	return say_done(cli, r);
}

const struct command cmd_files_mkdir = {
	.name = "files mkdir",
	.arguments = "VM:DIR",
	.summary = "Make a folder in the guest",
	.least = 1,
	.most = 1,
	.options = mkdir_options,
	.run = run_mkdir,
};

/* ---- mv ---- */

static const struct cli_option mv_options[] = {
	{"replace", 'f', NULL, "what has that name already goes"},
	{0},
};

static int run_mv(struct cli *cli)
{
	AUTO_FILES struct files_guest guest = {0};
	int r;

	if (cli->words[1][0] != '/')
		return cli_usage(
			cli, "%s: expected an absolute path of the same guest", cli->words[1]);
	r = files_open(cli, cli->words[0], &guest);
	if (r == POSTERN_DONE)
		r = files_call(&guest, "files.rename",
			json_pack("{s:o, s:o, s:b}", "path", files_text(guest.location.path),
				"target", files_text(cli->words[1]), "replace",
				cli_flag(cli, "replace")),
			NULL);
	return say_done(cli, r);
}

const struct command cmd_files_mv = {
	.name = "files mv",
	.arguments = "VM:PATH PATH",
	.summary = "Give a file or folder of the guest another name or place",
	.details = "Within one file system.",
	.least = 2,
	.most = 2,
	.options = mv_options,
	.run = run_mv,
};
