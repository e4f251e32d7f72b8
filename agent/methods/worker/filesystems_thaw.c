/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fs.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "agent/methods/filesystem_set.h"
#include "agent/methods/freeze.h"
#include "agent/methods/freeze_record.h"
#include "agent/methods/hooks.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define SETTLE_AGAIN_MS 20

/* What is being thawed, and what it came to. */
struct thawing {
	struct filesystem_set mounted; /* the table, and what is on disks */
	Postern__V1__FilesystemsThawReply *reply;
	uint32_t problems; /* of the record: not mounted any more */
	bool left;         /* one of the record that is mounted did not thaw */
};

static int make_room(struct call *call, struct thawing *thawing, size_t n)
{
	Postern__V1__FilesystemsThawReply *reply = thawing->reply;

	reply->thawed = arena_alloc(call->arena, (n + 1) * sizeof(*reply->thawed));
	reply->problems = arena_alloc(call->arena, (n + 1) * sizeof(*reply->problems));
	return reply->thawed && reply->problems ? 0 : -ENOMEM;
}

static int thaw_one(struct call *call, const struct filesystem *fs)
{
	int r = filesystem_ioctl(call, fs, TOUCH_LOOK, FITHAW, NULL);

	call->error = NULL;
	return r;
}

/* EINVAL: it is not frozen, so somebody else has thawed it, or it never was. */
static void take(struct call *call, struct thawing *thawing, const Postern__V1__Filesystem *fs,
	bool recorded, int r)
{
	Postern__V1__FilesystemsThawReply *reply = thawing->reply;
	Postern__V1__FilesystemProblem *problem;

	if (!fs || r == -EINVAL || r == -EOPNOTSUPP)
		return;
	if (r == 0) {
		reply->thawed[reply->n_thawed++] = (Postern__V1__Filesystem *)fs;
		return;
	}
	thawing->left |= recorded && r != -ENODEV;
	thawing->problems += recorded && r == -ENODEV;
	problem = filesystem_problem(call, fs, -r);
	if (problem)
		reply->problems[reply->n_problems++] = problem;
}

/* The last that was frozen first. */
static void thaw_recorded(struct call *call, struct thawing *thawing,
	const Postern__V1__FilesystemsStatusReply *record)
{
	for (size_t i = record->n_frozen; i-- > 0;) {
		const Postern__V1__Filesystem *entry = record->frozen[i];
		const struct filesystem *fs =
			filesystem_set_find(&thawing->mounted, makedev(entry->major, entry->minor));

		take(call, thawing, entry, true, fs ? thaw_one(call, fs) : -ENODEV);
	}
}

static bool is_recorded(const Postern__V1__FilesystemsStatusReply *record, dev_t device)
{
	for (size_t i = 0; record && i < record->n_frozen; i++)
		if (makedev(record->frozen[i]->major, record->frozen[i]->minor) == device)
			return true;
	return false;
}

static void thaw_rest(struct call *call, struct thawing *thawing,
	const Postern__V1__FilesystemsStatusReply *record)
{
	for (size_t i = thawing->mounted.n; i-- > 0;) {
		const struct filesystem *fs = &thawing->mounted.list[i];

		if (!is_recorded(record, fs->device))
			take(call, thawing, filesystem_message(call, fs), false,
				thaw_one(call, fs));
	}
}

static void tell_thawed(struct call *call, const Postern__V1__FilesystemsStatusReply *record,
	Postern__V1__ThawReason reason, uint32_t problems)
{
	Postern__V1__NotifyFilesystemsThawed notify = POSTERN__V1__NOTIFY_FILESYSTEMS_THAWED__INIT;

	notify.has_lease = notify.has_reason = notify.has_problems = true;
	notify.lease = record->lease;
	notify.reason = reason;
	notify.problems = problems;
	worker_notify(call, TOPIC_filesystems_thawed, &notify.base);
}

static int fail_left(struct call *call, const struct thawing *thawing)
{
	const Postern__V1__FilesystemProblem *first = thawing->reply->problems[0];

	return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, first->sys_errno,
		"%.*s did not thaw: %s; it is tried again", (int)first->filesystem->target.len,
		(const char *)first->filesystem->target.data, first->message);
}

static int thaw_all(struct call *call, struct thawing *thawing, bool everything,
	const Postern__V1__FilesystemsStatusReply *record)
{
	int r = filesystem_set_all(call, &thawing->mounted);

	if (r == 0)
		r = make_room(call, thawing, thawing->mounted.n + (record ? record->n_frozen : 0));
	if (r < 0)
		return r;
	if (record)
		thaw_recorded(call, thawing, record);
	if (everything)
		thaw_rest(call, thawing, record);
	return thawing->left ? fail_left(call, thawing) : 0;
}

/* Writes go on already; what a program did not do is for people to know. */
static void run_hooks(struct call *call, Postern__V1__FilesystemsThawReply *reply)
{
	struct hook_result result;

	(void)hooks_call(call, HOOK_THAW, &result);
	if (result.end == HOOK_OK)
		return;
	(void)hooks_fail(call, HOOK_THAW, &result, "");
	reply->hook_problem = call->error ? call->error->message : NULL;
	call->error = NULL;
}

int thaw(struct call *call, bool everything, Postern__V1__ThawReason reason,
	Postern__V1__FilesystemsThawReply *reply)
{
	struct thawing thawing = {.reply = reply};
	Postern__V1__FilesystemsStatusReply *record;
	int r = freeze_record_read(call, &record);

	if (r < 0)
		return call_fail_errno(call, r, "the record of what is frozen");
	r = thaw_all(call, &thawing, everything, record);
	filesystem_set_clear(&thawing.mounted);
	if (r == 0 && record)
		r = freeze_record_remove(call);
	if (r < 0)
		return call->error ? r : call_fail_errno(call, r, "the record of what was frozen");
	if (record)
		tell_thawed(call, record, reason, thawing.problems);
	worker_thawed(call);
	if (record)
		run_hooks(call, reply);
	return 0;
}

int filesystems_thaw(struct call *call, const Postern__V1__FilesystemsThawRequest *request,
	Postern__V1__FilesystemsThawReply *reply)
{
	uint64_t lease = worker_freeze(call)->lease;
	int lock = -EBADF, r;

	if (request->has_lease && request->lease != lease)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"lease %llu is over; what it froze is thawed",
			(unsigned long long)request->lease);
	r = freeze_lock(call, &lock);
	if (r < 0)
		return call_fail_errno(call, r, "somebody still freezes or thaws");
	return thaw(call, request->everything, POSTERN__V1__THAW_REASON__THAW_ASKED, reply);
}

int settle_freeze(struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret)
{
	Postern__V1__FilesystemsStatusReply *record;
	int r;

	(void)message;
	while ((r = freeze_record_read(call, &record)) == 0 && record &&
		monotonic_ns() + SETTLE_AGAIN_MS * NSEC_PER_MSEC < call->deadline)
		(void)nanosleep(
			&(struct timespec){.tv_nsec = SETTLE_AGAIN_MS * NSEC_PER_MSEC}, NULL);
	if (r == 0 && !record)
		*ret = POSTERN__V1__OUTCOME__NOT_DONE;
	return r;
}

int filesystems_status(struct call *call, const Postern__V1__FilesystemsStatusRequest *request,
	Postern__V1__FilesystemsStatusReply *reply)
{
	const struct freeze_facts *facts = worker_freeze(call);
	Postern__V1__FilesystemsStatusReply *record;
	uint64_t now = monotonic_ns();
	int r = freeze_record_read(call, &record);

	(void)request;
	if (r < 0)
		return call_fail_errno(call, r, "the record of what is frozen");
	/* The broker's word counts: a record that it does not know of is being thawed. */
	if (!record)
		return 0;
	reply->has_lease = reply->has_left_ms = true;
	reply->lease = record->lease;
	reply->frozen = record->frozen;
	reply->n_frozen = record->n_frozen;
	if (facts->lease != record->lease)
		return 0;
	reply->holder = arena_strdup(call->arena, facts->holder);
	if (facts->until_ns > now)
		reply->left_ms = (facts->until_ns - now) / NSEC_PER_MSEC;
	return 0;
}
