/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/copy_progress.h"
#include "host/cli/cut.h"
#include "host/cli/grant.h"
#include "host/cli/job_run.h"
#include "host/common/fail.h"
#include "proto/cleanup.h"
#include "proto/copy/copy.h"

#define SOURCES_MAX 256

static const struct cli_option options[] = {
	{"recursive", 'r', NULL, "folders, with all that is in them"},
	{"follow-links", 'L', NULL, "let symbolic links be in the guest's path"},
	{"sync", 's', NULL, "have each file on the disk before it takes its place"},
	{0},
};

/* "VM:PATH", "[ADDRESS]:PATH", or a path of ours. */
struct location {
	char *vm; /* owned; NULL: ours */
	const char *path;
};

static void location_parse(const char *word, struct location *ret)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');

	*ret = (struct location){.path = word};
	if (word[0] == '[') {
		colon = strstr(word, "]:");
		if (!colon)
			return;
		ret->vm = strndup(word + 1, (size_t)(colon - word - 1));
		ret->path = colon + 2;
	} else if (colon && colon != word && (!slash || colon < slash)) {
		ret->vm = strndup(word, (size_t)(colon - word));
		ret->path = colon + 1;
	}
}

struct copy {
	struct cli *cli;
	struct location from[SOURCES_MAX], to;
	size_t n;
	struct postern_client *client;
	struct copy_source sources[SOURCES_MAX]; /* descriptors owned */
	int channel;                             /* owned */
	int dir;                                 /* owned */
	int signal;                              /* that cut it; or 0 */
	struct copy_counts counts;
	struct postern_error error;
};

static bool wants_folder(const struct copy *copy)
{
	const char *path = copy->to.path;

	return copy->n > 1 || (path[0] && path[strlen(path) - 1] == '/');
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

static int call(struct copy *copy, const char *method, json_t *params)
{
	return grant_call(copy->client, method, params, "channel", &copy->channel, &copy->error);
}

/* ---- from us to a guest ---- */

static int open_source(struct copy *copy, size_t i)
{
	const char *path = copy->from[i].path;
	struct copy_source *source = &copy->sources[i];
	char *real = realpath(path, NULL), *slash;
	int r = copy_open_source(AT_FDCWD, path, 0, cli_flag(copy->cli, "recursive"), &source->fd);

	source->path = path;
	slash = real ? strrchr(real, '/') : NULL;
	/* As it is called here, but for "." and the like. */
	source->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	if (source->name[0] == '\0' || strcmp(source->name, ".") == 0 ||
		strcmp(source->name, "..") == 0)
		source->name = slash && slash[1] ? strdup(slash + 1) : "root";
	free(real);
	if (r == -EISDIR)
		return fail(&copy->error, POSTERN_USAGE, EISDIR,
			"%.300s: a folder; -r copies it with all that is in it", path);
	if (r == -ENOTSUP)
		return fail(&copy->error, POSTERN_USAGE, 0, "%.300s: neither a file nor a folder",
			path);
	return r < 0 ? fail_errno(&copy->error, POSTERN_ANSWERED, -r, "%.300s", path) : 0;
}

static int send_all(struct copy *copy, const struct copy_watch *watch)
{
	struct copy_stream stream;
	json_t *params;
	int r = 0;

	for (size_t i = 0; r == 0 && i < copy->n; i++)
		r = open_source(copy, i);
	if (r < 0)
		return r;
	params = json_pack("{s:o, s:b, s:b, s:b}", "path", job_bytes(copy->to.path), "into_folder",
		wants_folder(copy), "follow_links", cli_flag(copy->cli, "follow-links"), "sync",
		cli_flag(copy->cli, "sync"));
	r = call(copy, "copy.receive", params);
	if (r < 0)
		return r;
	copy_stream_init(&stream, copy->channel);
	cut_begin(copy->channel);
	r = copy_stream_send(&stream, copy->sources, copy->n, watch, &copy->counts);
	copy->signal = cut_end();
	copy_stream_done(&stream);
	return r < 0 ? fail_copy(copy, r) : 0;
}

/* ---- from a guest to us ---- */

static int receive_all(struct copy *copy, const struct copy_watch *watch)
{
	const char *asked[SOURCES_MAX];
	struct copy_target target = {.sync = cli_flag(copy->cli, "sync"),
		.recursive = cli_flag(copy->cli, "recursive"),
		.paths = asked,
		.n_paths = copy->n};
	json_t *params, *paths = json_array();
	struct copy_stream stream;
	int r = copy_open_target(copy->to.path, 0, wants_folder(copy), &copy->dir, &target.rename);

	for (size_t i = 0; i < copy->n; i++) {
		asked[i] = copy->from[i].path;
		(void)json_array_append_new(paths, job_bytes(asked[i]));
	}
	params = json_pack("{s:o, s:b, s:b}", "paths", paths, "recursive",
		cli_flag(copy->cli, "recursive"), "follow_links",
		cli_flag(copy->cli, "follow-links"));
	if (r < 0) {
		json_decref(params);
		return fail_errno(&copy->error, POSTERN_USAGE, -r, "%.300s", copy->to.path);
	}
	target.dir = copy->dir;
	r = call(copy, "copy.send", params);
	if (r < 0)
		return r;
	copy_stream_init(&stream, copy->channel);
	cut_begin(copy->channel);
	r = copy_stream_receive(&stream, &target, watch, &copy->counts);
	copy->signal = cut_end();
	copy_stream_done(&stream);
	return r < 0 ? fail_copy(copy, r) : 0;
}

/* ---- both ---- */

static int run_copy(struct copy *copy, const char *vm)
{
	struct copy_progress progress;
	struct copy_watch watch;
	int r = agent_connect_to(copy->cli, vm, &copy->client);

	if (r != POSTERN_DONE)
		return r;
	copy_progress_begin(&progress, copy->cli->json, &watch);
	r = copy->to.vm ? send_all(copy, &watch) : receive_all(copy, &watch);
	postern_client_close(copy->client);
	if (r < 0) {
		copy_progress_drop(&progress);
		r = cli_fail(copy->cli, &copy->error);
		return copy->signal ? 128 + copy->signal : r;
	}
	copy_progress_end(&progress, &copy->counts);
	return copy->counts.problems > 0 ? POSTERN_ANSWERED : POSTERN_DONE;
}

/* Which side is the guest's: the machine's name, or NULL after saying what is wrong. */
static const char *find_vm(struct copy *copy)
{
	const char *vm = copy->to.vm ? copy->to.vm : copy->from[0].vm;

	if (!vm) {
		(void)cli_usage(copy->cli, "neither side is a guest's: VM:PATH");
		return NULL;
	}
	for (size_t i = 0; i < copy->n; i++) {
		if (copy->to.vm && copy->from[i].vm) {
			(void)cli_usage(copy->cli, "one side must be this machine's");
			return NULL;
		}
		if (!copy->to.vm && (!copy->from[i].vm || strcmp(copy->from[i].vm, vm) != 0)) {
			(void)cli_usage(copy->cli, "all that is copied must be of one guest");
			return NULL;
		}
		if (copy->from[i].vm && copy->from[i].path[0] != '/') {
			(void)cli_usage(copy->cli, "%s: expected an absolute path behind the colon",
				copy->from[i].path);
			return NULL;
		}
	}
	if (copy->to.vm && copy->to.path[0] != '/') {
		(void)cli_usage(
			copy->cli, "%s: expected an absolute path behind the colon", copy->to.path);
		return NULL;
	}
	return vm;
}

static int run(struct cli *cli)
{
	static struct copy copy;
	const char *vm;
	int r = POSTERN_USAGE;

	copy.cli = cli;
	copy.n = (size_t)cli->n_words - 1;
	copy.channel = copy.dir = -EBADF;
	if (copy.n > SOURCES_MAX)
		return cli_usage(cli, "at most %d at once", SOURCES_MAX);
	for (size_t i = 0; i < copy.n; i++) {
		location_parse(cli->words[i], &copy.from[i]);
		copy.sources[i].fd = -EBADF;
	}
	location_parse(cli->words[copy.n], &copy.to);
	vm = find_vm(&copy);
	if (vm)
		r = run_copy(&copy, vm);
	for (size_t i = 0; i < copy.n; i++) {
		(void)fd_close(copy.sources[i].fd);
		free(copy.from[i].vm);
	}
	free(copy.to.vm);
	(void)fd_close(copy.channel);
	(void)fd_close(copy.dir);
	return r;
}

const struct command cmd_cp = {
	.name = "cp",
	.arguments = "SOURCE... TARGET",
	.summary = "Copy files and folders between this machine and a guest (VM:PATH)",
	.details = "TARGET is a folder that is there, or the new name of the one SOURCE. A file is "
		   "whole\n"
		   "or as it was; of a large one that was cut, the same command sends the rest. "
		   "Links\n"
		   "are copied where they stay within what is copied, and never followed in it.\n"
		   "Permissions and times come along, owners do not. A path of this machine that "
		   "has a\n"
		   "colon is written ./a:b.",
	.least = 2,
	.most = -1,
	.options = options,
	.run = run,
};
