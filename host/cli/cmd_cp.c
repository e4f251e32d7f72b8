/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/copy_location.h"
#include "host/cli/copy_progress.h"
#include "host/cli/copy_relay.h"
#include "host/cli/cut.h"
#include "host/cli/grant.h"
#include "host/cli/job_run.h"
#include "host/common/fail.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/copy/copy.h"

#define SOURCES_MAX 256

static const struct cli_option options[] = {
	{"recursive", 'r', NULL, "folders, with all that is in them"},
	{"follow-links", 'L', NULL, "let symbolic links be in a guest's path"},
	{"sync", 's', NULL, "have each file on the disk before it takes its place"},
	{0},
};

/* The guest of one side, connected. */
struct guest {
	const char *vm;                /* borrowed; NULL: the side is ours */
	struct postern_client *client; /* owned */
	int channel;                   /* owned */
	struct copy_stream stream;
};

struct copy {
	struct cli *cli;
	struct copy_location from[SOURCES_MAX], to;
	size_t n;
	struct copy_source sources[SOURCES_MAX]; /* ours; descriptors owned */
	const char *asked[SOURCES_MAX];          /* a guest's; borrowed */
	struct guest sender, receiver;
	int dir;    /* ours; owned */
	int signal; /* that cut it; or 0 */
	struct copy_counts counts;
	struct postern_error error;
};

static bool wants_folder(const struct copy *copy)
{
	const char *path = copy->to.path;

	return copy->n > 1 || (path[0] && path[strlen(path) - 1] == '/');
}

/* Of two guests, which of them it was. */
static void blame(struct copy *copy, const char *vm)
{
	struct postern_error *error = &copy->error;
	AUTO_FREE char *said = strdup(error->message);

	if (said && copy->sender.vm && copy->receiver.vm)
		(void)snprintf(error->message, sizeof(error->message), "%s: %s", vm, said);
}

/* Why a copy ended before its end. */
static int fail_copy(struct copy *copy, int r)
{
	if (copy->signal)
		return fail(&copy->error, POSTERN_ABSENT, EINTR,
			"interrupted; the same command goes on where a large file was cut");
	switch (r) {
	case -EPIPE:
	case -ECONNRESET:
		return fail(&copy->error, POSTERN_ABSENT, -r,
			"the copy was cut; the same command goes on where a large file was cut");
	case -ETIMEDOUT:
		return fail(&copy->error, POSTERN_TIMED_OUT, -r,
			"the guest did nothing for %d minutes; the same command goes on where a "
			"large file was cut",
			COPY_IDLE_MS / 60000);
	case -EBADMSG:
	case -EXDEV:
		return fail(
			&copy->error, POSTERN_PROTOCOL, -r, "the guest broke the copy's protocol");
	default:
		return fail_errno(&copy->error, POSTERN_ANSWERED, -r, "the copy");
	}
}

static int call(struct copy *copy, struct guest *guest, const char *method, json_t *params)
{
	int r = grant_call(guest->client, method, params, "channel", &guest->channel, &copy->error);

	if (r == 0)
		copy_stream_init(&guest->stream, guest->channel);
	else
		blame(copy, guest->vm);
	return r;
}

static int call_receive(struct copy *copy)
{
	json_t *params = json_pack("{s:o, s:b, s:b, s:b}", "path", job_bytes(copy->to.path),
		"into_folder", wants_folder(copy), "follow_links",
		cli_flag(copy->cli, "follow-links"), "sync", cli_flag(copy->cli, "sync"));

	return call(copy, &copy->receiver, "copy.receive", params);
}

static int call_send(struct copy *copy)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < copy->n; i++)
		(void)json_array_append_new(paths, job_bytes(copy->from[i].path));
	return call(copy, &copy->sender, "copy.send",
		json_pack("{s:o, s:b, s:b}", "paths", paths, "recursive",
			cli_flag(copy->cli, "recursive"), "follow_links",
			cli_flag(copy->cli, "follow-links")));
}

static struct copy_asked asked_of(struct copy *copy)
{
	for (size_t i = 0; i < copy->n; i++)
		copy->asked[i] = copy->from[i].path;
	return (struct copy_asked){.recursive = cli_flag(copy->cli, "recursive"),
		.paths = copy->asked,
		.n_paths = copy->n};
}

/* ---- from us to a guest ---- */

static int open_source(struct copy *copy, size_t i)
{
	const char *path = copy->from[i].path;
	struct copy_source *source = &copy->sources[i];
	char *real = realpath(path, NULL), *slash, shown[300];
	int r = copy_open_source(AT_FDCWD, path, 0, cli_flag(copy->cli, "recursive"), &source->fd);

	source->path = path;
	slash = real ? strrchr(real, '/') : NULL;
	/* As it is called here, but for "." and the like. */
	source->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	if (source->name[0] == '\0' || strcmp(source->name, ".") == 0 ||
		strcmp(source->name, "..") == 0)
		source->name = slash && slash[1] ? strdup(slash + 1) : "root";
	free(real);
	(void)postern_escape(path, strlen(path), shown, sizeof(shown));
	if (r == -EISDIR)
		return fail(&copy->error, POSTERN_USAGE, EISDIR,
			"%s: a folder; -r copies it with all that is in it", shown);
	if (r == -ENOTSUP)
		return fail(
			&copy->error, POSTERN_USAGE, 0, "%s: neither a file nor a folder", shown);
	return r < 0 ? fail_errno(&copy->error, POSTERN_ANSWERED, -r, "%s", shown) : 0;
}

static int send_all(struct copy *copy, const struct copy_watch *watch)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < copy->n; i++)
		r = open_source(copy, i);
	if (r == 0)
		r = call_receive(copy);
	if (r < 0)
		return r;
	cut_begin(copy->receiver.channel, -EBADF);
	r = copy_stream_send(&copy->receiver.stream, copy->sources, copy->n, watch, &copy->counts);
	copy->signal = cut_end();
	return r < 0 ? fail_copy(copy, r) : 0;
}

/* ---- from a guest to us ---- */

static int receive_all(struct copy *copy, const struct copy_watch *watch)
{
	struct copy_target target = {.sync = cli_flag(copy->cli, "sync"), .asked = asked_of(copy)};
	int r = copy_open_target(copy->to.path, 0, wants_folder(copy), &copy->dir, &target.rename);

	if (r < 0)
		return fail_errno(&copy->error, POSTERN_USAGE, -r, "%.300s", copy->to.path);
	target.dir = copy->dir;
	r = call_send(copy);
	if (r < 0)
		return r;
	cut_begin(copy->sender.channel, -EBADF);
	r = copy_stream_receive(&copy->sender.stream, &target, watch, &copy->counts);
	copy->signal = cut_end();
	return r < 0 ? fail_copy(copy, r) : 0;
}

/* ---- from a guest to a guest ---- */

static int relay_all(struct copy *copy, const struct copy_watch *watch)
{
	struct copy_guest from = {copy->sender.vm, &copy->sender.stream},
			  to = {copy->receiver.vm, &copy->receiver.stream};
	struct copy_asked asked = asked_of(copy);
	const struct copy_guest *guilty;
	int r = call_send(copy);

	if (r == 0)
		r = call_receive(copy);
	if (r < 0)
		return r;
	cut_begin(copy->sender.channel, copy->receiver.channel);
	r = copy_relay(&from, &to, &asked, watch, &copy->counts, &guilty);
	copy->signal = cut_end();
	if (r < 0)
		r = fail_copy(copy, r);
	if (guilty && !copy->signal)
		blame(copy, guilty->name);
	return r;
}

/* ---- all ---- */

static int copy_all(struct copy *copy, const struct copy_watch *watch)
{
	if (!copy->receiver.vm)
		return receive_all(copy, watch);
	return copy->sender.vm ? relay_all(copy, watch) : send_all(copy, watch);
}

static int connect_guest(struct copy *copy, struct guest *guest)
{
	return guest->vm ? agent_connect_to(copy->cli, guest->vm, &guest->client) : POSTERN_DONE;
}

static int run_copy(struct copy *copy)
{
	struct copy_progress progress;
	struct copy_watch watch;
	int r = connect_guest(copy, &copy->sender);

	if (r == POSTERN_DONE)
		r = connect_guest(copy, &copy->receiver);
	if (r != POSTERN_DONE)
		return r;
	copy_progress_begin(&progress, copy->cli->json, &watch);
	r = copy_all(copy, &watch);
	if (r < 0) {
		copy_progress_drop(&progress);
		r = cli_fail(copy->cli, &copy->error);
		return copy->signal ? 128 + copy->signal : r;
	}
	copy_progress_end(&progress, &copy->counts);
	return copy->counts.problems > 0 ? POSTERN_ANSWERED : POSTERN_DONE;
}

static void close_guest(struct guest *guest)
{
	postern_client_close(guest->client);
	copy_stream_done(&guest->stream);
	(void)fd_close(guest->channel);
}

static int run(struct cli *cli)
{
	static struct copy copy;
	const char *wrong;
	int r;

	copy.cli = cli;
	copy.n = (size_t)cli->n_words - 1;
	copy.sender.channel = copy.receiver.channel = copy.dir = -EBADF;
	if (copy.n > SOURCES_MAX)
		return cli_usage(cli, "at most %d at once", SOURCES_MAX);
	for (size_t i = 0; i < copy.n; i++) {
		copy_location_parse(cli->words[i], &copy.from[i]);
		copy.sources[i].fd = -EBADF;
	}
	copy_location_parse(cli->words[copy.n], &copy.to);
	copy.sender.vm = copy.from[0].vm;
	copy.receiver.vm = copy.to.vm;
	wrong = copy_location_check(copy.from, copy.n, &copy.to);
	r = wrong ? cli_usage(cli, "%s", wrong) : run_copy(&copy);
	for (size_t i = 0; i < copy.n; i++) {
		(void)fd_close(copy.sources[i].fd);
		free(copy.from[i].vm);
	}
	free(copy.to.vm);
	close_guest(&copy.sender);
	close_guest(&copy.receiver);
	(void)fd_close(copy.dir);
	return r;
}

const struct command cmd_cp = {
	.name = "cp",
	.arguments = "SOURCE... TARGET",
	.summary = "Copy files and folders between this machine and guests (VM:PATH)",
	.details = "TARGET is a folder that is there, or the new name of the one SOURCE. A file is "
		   "whole\n"
		   "or as it was; of a large one that was cut, the same command sends the rest. "
		   "Links\n"
		   "are copied where they stay within what is copied, and never followed in it; a "
		   "link\n"
		   "at the target is replaced. Devices, sockets and FIFOs are neither read nor "
		   "replaced.\n"
		   "Permissions and times come along, owners do not. A path of this machine that "
		   "has a\n"
		   "colon is written ./a:b.",
	.least = 2,
	.most = -1,
	.options = options,
	.run = run,
};
