/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/copy/copy.h"

#define SOURCES_MAX 256

static uint64_t resolve_of(bool follow_links)
{
	return RESOLVE_NO_MAGICLINKS | (follow_links ? 0 : RESOLVE_NO_SYMLINKS);
}

static int fail_path(struct call *call, int r, const char *path)
{
	if (r == -ELOOP)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ELOOP,
			"%s: a symbolic link is in this path; give the path it stands for, or have "
			"links followed",
			path);
	if (r == -EISDIR)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EISDIR,
			"%s: a folder; it is copied only with all that is in it (recursive)", path);
	if (r == -ENOTSUP)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"%s: neither a file nor a folder", path);
	return call_fail_errno(call, r, "%s", path);
}

/* Problems go through the stream, the guest has nobody to tell; the broker hears how much it was
 * without what was there before. */
struct serving {
	struct worker_channel *channel;
	struct copy_counts counts;
};

/* ---- to the caller ---- */

struct sending {
	struct copy_source sources[SOURCES_MAX];
	size_t n;
};

static void count_sent(void *ctx, const char *name, uint64_t bytes)
{
	struct serving *serving = ctx;

	(void)name;
	(void)bytes;
	serving->channel->to_caller = serving->counts.bytes;
	worker_count(serving->channel);
}

static void serve_send(struct worker_channel *channel, int socket)
{
	struct serving serving = {.channel = channel};
	struct copy_watch watch = {.progress = count_sent, .ctx = &serving};
	struct sending *sending = channel->state;
	struct copy_stream stream;

	copy_stream_init(&stream, socket);
	(void)copy_stream_send(&stream, sending->sources, sending->n, &watch, &serving.counts);
	copy_stream_done(&stream);
	channel->to_caller = serving.counts.bytes;
}

static int open_sources(
	struct call *call, const Postern__V1__CopySendRequest *request, struct sending *sending)
{
	for (size_t i = 0; i < request->n_paths; i++) {
		struct copy_source *source = &sending->sources[i];
		char *path = call_path(call, true, &request->paths[i], "paths");
		size_t len;
		int r;

		if (!path)
			return -EINVAL;
		r = place_check(call, path, TOUCH_LOOK);
		if (r < 0)
			return r;
		/* A link may lead away from there. */
		if (request->follow_links)
			worker_touch_done(call);
		source->path = path;
		/* To its end: no slash is behind it. */
		source->name = copy_name_of(path, &len);
		r = copy_open_source(AT_FDCWD, path, resolve_of(request->follow_links),
			request->recursive, &source->fd);
		if (r < 0)
			return fail_path(call, r, path);
		sending->n++;
	}
	return 0;
}

int copy_send(struct call *call, const Postern__V1__CopySendRequest *request,
	Postern__V1__CopySendReply *reply)
{
	struct sending *sending = arena_alloc(call->arena, sizeof(*sending));
	int r;

	if (!sending)
		return -ENOMEM;
	if (request->n_paths == 0 || request->n_paths > SOURCES_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"paths: expected 1 to %d", SOURCES_MAX);
	r = open_sources(call, request, sending);
	/* What is below them may be anywhere. */
	worker_touch_done(call);
	if (r < 0)
		return r;
	reply->channel = worker_grant(call, serve_send, sending);
	return reply->channel ? 0 : -ENOMEM;
}

/* ---- from the caller ---- */

static void count_received(void *ctx, const char *name, uint64_t bytes)
{
	struct serving *serving = ctx;

	(void)name;
	(void)bytes;
	serving->channel->from_caller = serving->counts.bytes;
	worker_count(serving->channel);
}

static void serve_receive(struct worker_channel *channel, int socket)
{
	struct serving serving = {.channel = channel};
	struct copy_watch watch = {.progress = count_received, .ctx = &serving};
	struct copy_stream stream;

	copy_stream_init(&stream, socket);
	(void)copy_stream_receive(&stream, channel->state, &watch, &serving.counts);
	copy_stream_done(&stream);
	channel->from_caller = serving.counts.bytes;
}

int copy_receive(struct call *call, const Postern__V1__CopyReceiveRequest *request,
	Postern__V1__CopyReceiveReply *reply)
{
	struct copy_target *target = arena_alloc(call->arena, sizeof(*target));
	char *path = call_path(call, request->has_path, &request->path, "path");
	int r;

	if (!target || !path)
		return target ? -EINVAL : -ENOMEM;
	target->sync = request->sync;
	/* It is the caller who says what is written where. */
	target->asked.recursive = true;
	r = place_check(call, path, TOUCH_WRITE);
	if (r < 0)
		return r;
	if (request->follow_links)
		worker_touch_done(call);
	r = copy_open_target(path, resolve_of(request->follow_links), request->into_folder,
		&target->dir, &target->rename);
	worker_touch_done(call);
	if (r < 0)
		return fail_path(call, r, path);
	reply->channel = worker_grant(call, serve_receive, target);
	return reply->channel ? 0 : -ENOMEM;
}
