/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/copy_progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/command.h"
#include "host/cli/progress.h"
#include "proto/client/text.h"
#include "proto/clock.h"

#define SHOW_NS      (100 * NSEC_PER_MSEC) /* between two lines */
#define BAR          20
#define NAME_MAX_    40
#define PROBLEMS_MAX 10000 /* kept for the end */

static double seconds_since(uint64_t began_ns)
{
	double seconds = (double)(monotonic_ns() - began_ns) / NSEC_PER_SEC;

	return seconds > 0.001 ? seconds : 0.001;
}

static void on_plan(void *ctx, uint64_t files, uint64_t bytes)
{
	struct copy_progress *progress = ctx;

	progress->files = files;
	progress->bytes = bytes;
}

/* The end of a name is what tells it from others. */
static const char *end_of(const char *text)
{
	size_t len = strlen(text);

	return len > NAME_MAX_ ? text + len - NAME_MAX_ : text;
}

static void on_progress(void *ctx, const char *name, uint64_t bytes)
{
	struct copy_progress *progress = ctx;
	uint64_t now = monotonic_ns(), total = progress->bytes > bytes ? progress->bytes : bytes;
	double rate = (double)bytes / seconds_since(progress->began_ns);
	char line[256], bar[BAR + 1], escaped[NAME_MAX_ * 10 + 1];
	size_t done = total ? (size_t)((double)bytes / (double)total * BAR) : BAR;
	uint64_t left = rate > 0 ? (uint64_t)((double)(total - bytes) / rate) : 0;

	if (progress->json || now - progress->shown_ns < SHOW_NS)
		return;
	progress->shown_ns = now;
	memset(bar, '.', BAR);
	memset(bar, '#', done < BAR ? done : BAR);
	bar[BAR] = '\0';
	(void)postern_escape(end_of(name), strlen(end_of(name)), escaped, sizeof(escaped));
	(void)snprintf(line, sizeof(line), "[%s] %3d%% %s of %s, %s/s, %u:%02u left, %.60s", bar,
		total ? (int)((double)bytes * 100 / (double)total) : 100,
		human_bytes((double)bytes), human_bytes((double)total), human_bytes(rate),
		(unsigned int)(left / 60), (unsigned int)(left % 60), escaped);
	progress_show(line);
}

static void on_problem(
	void *ctx, const char *who, const char *path, int sys_errno, const char *message)
{
	struct copy_progress *progress = ctx;
	char *shown = postern_escape_dup(path, strlen(path)),
	     *why = postern_escape_dup(message, strlen(message));

	if (progress->json && json_array_size(progress->problems) < PROBLEMS_MAX) {
		(void)json_array_append_new(
			progress->problems, json_pack("{s:s*, s:s*, s:i, s:s*}", "vm", who, "path",
						    shown, "errno", sys_errno, "message", why));
	} else if (!progress->json) {
		progress_end();
		(void)fprintf(stderr, "postern: %s%s%s: %s\n", who ? who : "", who ? ": " : "",
			shown ? shown : "?", why ? why : "?");
	}
	free(shown);
	free(why);
}

void copy_progress_begin(struct copy_progress *progress, bool json, struct copy_watch *ret_watch)
{
	*progress = (struct copy_progress){
		.json = json, .began_ns = monotonic_ns(), .problems = json_array()};
	*ret_watch = (struct copy_watch){
		.plan = on_plan, .progress = on_progress, .problem = on_problem, .ctx = progress};
}

void copy_progress_drop(struct copy_progress *progress)
{
	progress_end();
	json_decref(progress->problems);
}

void copy_progress_end(struct copy_progress *progress, const struct copy_counts *counts)
{
	double seconds = seconds_since(progress->began_ns);

	progress_end();
	if (progress->json) {
		(void)cli_json(json_pack("{s:I, s:I, s:I, s:f, s:O}", "files",
			(json_int_t)counts->files, "bytes", (json_int_t)counts->bytes, "resumed",
			(json_int_t)counts->resumed, "seconds", seconds, "problems",
			progress->problems));
	} else if (isatty(STDERR_FILENO)) {
		(void)fprintf(stderr, "%llu file%s, %s in %.1f s (%s/s)%s%s\n",
			(unsigned long long)counts->files, counts->files == 1 ? "" : "s",
			human_bytes((double)counts->bytes), seconds,
			human_bytes((double)counts->bytes / seconds),
			counts->resumed ? "; there before: " : "",
			counts->resumed ? human_bytes((double)counts->resumed) : "");
	}
	json_decref(progress->problems);
}
