/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/methods/filesystem_set.h"
#include "agent/methods/freeze.h"
#include "agent/methods/freeze_record.h"
#include "agent/methods/hooks.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/limits.h"
#include "proto/log.h"

#define LEASE_MS  10000
#define TOLD_MOST 64   /* in a notification */
#define GUARD_MS  2000 /* for one to say that it stands */

/* The agent itself must be able to write, or nobody could keep account of what is frozen. */
static int check_own_folder(struct call *call, const struct filesystem_set *set)
{
	const char *dir = worker_facts(call)->run_dir;
	struct stat st;

	if (stat(dir, &st) < 0)
		return call_fail_errno(call, -errno, "%s", dir);
	for (size_t i = 0; i < set->n; i++)
		if (set->list[i].device == st.st_dev)
			return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
				"%s cannot be frozen: the agent's own folder %s is on it",
				set->list[i].target, dir);
	return 0;
}

/* What will be tried, in the record before the first is: of one that was not, a thaw does no harm.
 */
static int write_record(
	struct call *call, struct filesystem_set *set, Postern__V1__FilesystemsStatusReply *record)
{
	record->has_lease = true;
	record->lease = worker_call_number(call);
	record->frozen = arena_alloc(call->arena, (set->n + 1) * sizeof(*record->frozen));
	if (!record->frozen)
		return -ENOMEM;
	for (size_t i = 0; i < set->n; i++) {
		record->frozen[i] = filesystem_message(call, &set->list[i]);
		if (!record->frozen[i])
			return -ENOMEM;
		record->n_frozen++;
	}
	return freeze_record_write(call, record);
}

static int fail_freeze(struct call *call, const struct filesystem *fs, int r)
{
	if (call->error)
		return r;
	if (r == -EBUSY)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
			"%s is frozen already, by somebody else; filesystems.thaw with everything "
			"set thaws it",
			fs->target);
	if (r == -EOPNOTSUPP)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EOPNOTSUPP,
			"%s: file systems of type %s cannot be frozen", fs->target, fs->type);
	return call_fail_errno(call, r, "%s", fs->target);
}

/* One after another; those that cannot be are left out where none of them was named. *ret_tried:
 * those before the one that failed, which are ours to thaw. */
static int freeze_each(struct call *call, struct filesystem_set *set, bool named,
	Postern__V1__Filesystem **messages, Postern__V1__FilesystemsFreezeReply *reply,
	size_t *ret_tried)
{
	reply->frozen = arena_alloc(call->arena, (set->n + 1) * sizeof(*reply->frozen));
	reply->skipped = arena_alloc(call->arena, (set->n + 1) * sizeof(*reply->skipped));
	if (!reply->frozen || !reply->skipped)
		return -ENOMEM;
	for (size_t i = 0; i < set->n; i++) {
		int r = filesystem_ioctl(call, &set->list[i], TOUCH_WRITE, FIFREEZE, NULL);

		*ret_tried = i;
		if (r == -EOPNOTSUPP && !named)
			reply->skipped[reply->n_skipped++] = messages[i];
		else if (r < 0)
			return fail_freeze(call, &set->list[i], r);
		else
			reply->frozen[reply->n_frozen++] = messages[i];
	}
	return 0;
}

static void tell_frozen(struct call *call, const Postern__V1__FilesystemsFreezeReply *reply)
{
	Postern__V1__NotifyFilesystemsFrozen notify = POSTERN__V1__NOTIFY_FILESYSTEMS_FROZEN__INIT;

	notify.has_lease = notify.has_lease_ms = true;
	notify.lease = reply->lease;
	notify.lease_ms = reply->lease_ms;
	notify.frozen = reply->frozen;
	notify.n_frozen = reply->n_frozen < TOLD_MOST ? reply->n_frozen : TOLD_MOST;
	worker_notify(call, TOPIC_filesystems_frozen, &notify.base);
}

static int choose(struct call *call, const Postern__V1__FilesystemsFreezeRequest *request,
	struct filesystem_set *set)
{
	int r = request->n_targets > 0
			? filesystem_set_named(call, request->targets, request->n_targets, set)
			: filesystem_set_all(call, set);

	if (r == 0 && set->n == 0)
		r = call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"no file system of this guest is on a block device and mounted writable");
	return r < 0 ? r : check_own_folder(call, set);
}

/* Descriptors of their roots, opened while that is possible, go to whoever thaws should the agent
 * die. 0 or -errno of the socket. */
static int tell_guard(struct call *call, const struct filesystem_set *set, int socket)
{
	struct inner_message message = {.kind = INNER_GUARD};
	int fds[INNER_FDS_MAX], r = 0;
	size_t n = 0;

	for (size_t i = 0; i < set->n && r == 0; i++) {
		r = filesystem_open(call, &set->list[i], TOUCH_LOOK, &fds[n]);
		if (r < 0)
			break;
		n++;
		message.arg = i + 1 == set->n;
		if (n < INNER_FDS_MAX && message.arg == 0)
			continue;
		r = inner_send(socket, &message, NULL, fds, n);
		for (; n > 0; n--)
			(void)fd_close(fds[n - 1]);
	}
	for (; n > 0; n--)
		(void)fd_close(fds[n - 1]);
	worker_touch_done(call);
	return r;
}

/* Asks for one, which starts while the kernel freezes: that is mostly waiting. Until it has all it
 * needs this process stays at its post even if the broker dies. *ret_guard: to await_guard();
 * negative where there is none, and a freeze is as safe as the agent lives. 0, or -errno with
 * call_fail() of a file system that cannot be opened. */
static int ask_guard(struct call *call, const struct filesystem_set *set, int *ret_guard)
{
	AUTO_CLOSE int ours = -EBADF;
	AUTO_CLOSE int theirs = -EBADF;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	ours = pair[0];
	theirs = pair[1];
	r = worker_want_guard(call, theirs);
	/* Else nobody would hear of its end. */
	fd_closep(&theirs);
	if (r == 0)
		r = tell_guard(call, set, ours);
	if (r < 0)
		return call->error ? r : 0;
	(void)prctl(PR_SET_PDEATHSIG, 0);
	*ret_guard = take_fd(&ours);
	return 0;
}

/* From here on it is the guard's. 0, or -EPIPE: the broker is gone, and nobody else may thaw. */
static int await_guard(int guard)
{
	uint64_t until = monotonic_ns() + GUARD_MS * NSEC_PER_MSEC;
	struct pollfd wait[] = {{.fd = guard, .events = POLLIN}, {.fd = INNER_FD}};
	struct inner_message message;
	int fds[INNER_FDS_MAX];
	size_t n_fds;

	while (poll(wait, ARRAY_SIZE(wait), ms_until(until)) < 0 && errno == EINTR)
		;
	if (wait[0].revents && inner_receive(guard, &message, NULL, 0, fds, &n_fds) > 0)
		inner_close_fds(fds);
	return wait[1].revents ? -EPIPE : 0;
}

/* The record stays: the next agent tells who is interested, and runs the hooks. */
static void thaw_alone(struct call *call, const struct filesystem_set *set, size_t n)
{
	log_warning("the agent died while file systems were being frozen: they are thawed");
	for (size_t i = n; i-- > 0;)
		(void)filesystem_ioctl(call, &set->list[i], TOUCH_LOOK, FITHAW, NULL);
}

/* What they have begun, those for the thaw undo, also where one of them failed. */
static int run_hooks(struct call *call)
{
	struct hook_result result, undone;

	(void)hooks_call(call, HOOK_FREEZE, &result);
	if (result.end == HOOK_OK)
		return 0;
	(void)hooks_call(call, HOOK_THAW, &undone);
	return hooks_fail(call, HOOK_FREEZE, &result, "; nothing was frozen");
}

/* All of them, or none. The error of the first that could not be is the one that counts. */
static int freeze(struct call *call, struct filesystem_set *set, bool named, uint32_t lease_ms,
	Postern__V1__FilesystemsFreezeReply *reply)
{
	Postern__V1__FilesystemsThawReply thawed = POSTERN__V1__FILESYSTEMS_THAW_REPLY__INIT;
	Postern__V1__FilesystemsStatusReply record = POSTERN__V1__FILESYSTEMS_STATUS_REPLY__INIT;
	Postern__V1__Error *error;
	AUTO_CLOSE int guard = -EBADF;
	size_t tried = 0;
	int r = run_hooks(call);

	if (r < 0)
		return r;
	r = ask_guard(call, set, &guard);
	if (r < 0)
		return r;
	r = write_record(call, set, &record);
	if (r < 0)
		return call_fail_errno(call, r, "the record of what is frozen");
	/* From here on the broker has all thawed, should this process not come to its end. */
	worker_freezing(call, 0);
	worker_changing(call);
	reply->has_lease = reply->has_lease_ms = true;
	reply->lease = record.lease;
	reply->lease_ms = lease_ms;
	r = freeze_each(call, set, named, record.frozen, reply, &tried);
	if (guard >= 0 && await_guard(guard) < 0) {
		/* Somebody else may have frozen the one that failed. */
		thaw_alone(call, set, r == 0 ? set->n : tried);
		return -EPIPE;
	}
	if (r == 0) {
		tell_frozen(call, reply);
		worker_freezing(call, lease_ms);
		return 0;
	}
	error = call->error;
	call->error = NULL;
	/* Somebody else may have frozen the one that failed. */
	record.n_frozen = tried;
	(void)freeze_record_write(call, &record);
	if (thaw(call, false, POSTERN__V1__THAW_REASON__THAW_FREEZE_FAILED, &thawed) == 0)
		call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	call->error = error;
	return r;
}

int filesystems_freeze(struct call *call, const Postern__V1__FilesystemsFreezeRequest *request,
	Postern__V1__FilesystemsFreezeReply *reply)
{
	uint32_t lease_ms = request->has_lease_ms ? request->lease_ms : LEASE_MS;
	AUTO_FILESYSTEMS struct filesystem_set set = {0};
	/* Until this process ends: whoever thaws meanwhile knows that more may follow. */
	int lock = -EBADF, r;

	if (lease_ms < FREEZE_LEAST_MS || lease_ms > FREEZE_MOST_MS)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"lease_ms: expected %d to %d", FREEZE_LEAST_MS, FREEZE_MOST_MS);
	r = choose(call, request, &set);
	if (r < 0)
		return r;
	r = freeze_lock(call, &lock);
	if (r < 0)
		return call_fail_errno(call, r, "somebody else freezes or thaws");
	return freeze(call, &set, request->n_targets > 0, lease_ms, reply);
}
