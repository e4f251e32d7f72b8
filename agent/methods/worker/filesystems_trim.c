/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fs.h>
#include <unistd.h>

#include "agent/methods/filesystem_set.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

static int add(struct call *call, const struct filesystem *fs, const struct fstrim_range *range,
	int r, Postern__V1__FilesystemsTrimReply *reply)
{
	Postern__V1__Filesystem *message = filesystem_message(call, fs);
	Postern__V1__FilesystemTrimmed *trimmed = arena_alloc(call->arena, sizeof(*trimmed));

	if (!message || !trimmed)
		return -ENOMEM;
	if (r < 0) {
		Postern__V1__FilesystemProblem *problem = filesystem_problem(call, message, -r);

		if (problem)
			reply->problems[reply->n_problems++] = problem;
		return problem ? 0 : -ENOMEM;
	}
	postern__v1__filesystem_trimmed__init(trimmed);
	trimmed->filesystem = message;
	trimmed->has_bytes = trimmed->has_minimum = true;
	trimmed->bytes = range->len;
	trimmed->minimum = range->minlen;
	reply->trimmed[reply->n_trimmed++] = trimmed;
	return 0;
}

int filesystems_trim(struct call *call, const Postern__V1__FilesystemsTrimRequest *request,
	Postern__V1__FilesystemsTrimReply *reply)
{
	AUTO_FILESYSTEMS struct filesystem_set set = {0};
	bool named = request->n_targets > 0;
	int r = named ? filesystem_set_named(call, request->targets, request->n_targets, &set)
		      : filesystem_set_all(call, &set);

	if (r < 0)
		return r;
	reply->trimmed = arena_alloc(call->arena, (set.n + 1) * sizeof(*reply->trimmed));
	reply->problems = arena_alloc(call->arena, (set.n + 1) * sizeof(*reply->problems));
	if (!reply->trimmed || !reply->problems)
		return -ENOMEM;
	worker_changing(call);
	for (size_t i = 0; i < set.n && r == 0; i++) {
		struct fstrim_range range = {.len = UINT64_MAX, .minlen = request->minimum};
		int trimmed = filesystem_ioctl(call, &set.list[i], TOUCH_WRITE, FITRIM, &range);

		call->error = NULL;
		/* A disk that knows no trimming is no problem of somebody who named none. */
		if (trimmed == -EOPNOTSUPP && !named)
			continue;
		r = add(call, &set.list[i], &range, trimmed, reply);
	}
	return r;
}

int filesystems_sync(struct call *call, const Postern__V1__FilesystemsSyncRequest *request,
	Postern__V1__FilesystemsSyncReply *reply)
{
	AUTO_FILESYSTEMS struct filesystem_set set = {0};
	int r = filesystem_set_named(call, request->targets, request->n_targets, &set);

	(void)reply;
	if (r < 0)
		return r;
	worker_changing(call);
	/* No error of a disk is told by it; who wants to hear of one names the file system. */
	if (request->n_targets == 0)
		sync();
	for (size_t i = 0; i < set.n && r == 0; i++) {
		AUTO_CLOSE int fd = -EBADF;

		r = filesystem_open(call, &set.list[i], TOUCH_WRITE, &fd);
		if (r == 0 && syncfs(fd) < 0)
			r = call_fail_errno(call, -errno, "%s", set.list[i].target);
		worker_touch_done(call);
	}
	return r;
}
