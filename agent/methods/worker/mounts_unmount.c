/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/holders.h"
#include "agent/methods/mount_call.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define BUSY_ATTEMPTS 5
#define BUSY_PAUSE_US 20000

static int fail_busy(struct call *call, const char *target, const struct holders *holders)
{
	Postern__V1__ErrorDetails *details = arena_alloc(call->arena, sizeof(*details));
	char words[512];
	int r;

	if (!details)
		return call_fail_errno(call, -EBUSY, "%s", target);
	holders_in_words(holders, words, sizeof(words));
	r = call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY, "%s is busy: %s", target,
		words);
	postern__v1__error_details__init(details);
	details->holders = holders->list;
	details->n_holders = holders->n;
	details->has_more_holders = holders->more > 0;
	details->more_holders = holders->more;
	if (call->error)
		call->error->details = details;
	return r;
}

/* By the folder above, opened without a symbolic link: nobody can swap a part of the path. */
static int unmount_path(
	struct call *call, const char *target, int flags, const Postern__V1__MountEntry *mount)
{
	AUTO_CLOSE int parent = -EBADF;
	const char *name;
	char path[PATH_MAX];
	int r = place_open_parent(call, target, &parent, &name);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%.255s", parent, name);
	/* A lazy one too: the last to let go of a file system writes what it has. */
	worker_touch(call, makedev(mount->major, mount->minor), TOUCH_WRITE);
	worker_changing(call);
	r = umount2(path, flags | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
	call->outcome = r < 0 ? POSTERN__V1__OUTCOME__NOT_DONE : POSTERN__V1__OUTCOME__DONE;
	worker_touch_done(call);
	return r;
}

/*
 * Whoever is just looking at the place, as another unmount does, makes it busy for a moment. So
 * what nobody is found to hold is tried again, as long as it is the same mount. 0 or -errno; -EBUSY
 * with the holders.
 */
static int unmount_patiently(struct call *call, const char *target, int flags,
	const Postern__V1__MountEntry *mount, struct holders *ret_holders)
{
	for (int attempt = 1;; attempt++) {
		Postern__V1__MountEntry *now;
		int r = unmount_path(call, target, flags, mount);

		if (r != -EBUSY)
			return r;
		*ret_holders = (struct holders){0};
		if (holders_find(call, mount, ret_holders) < 0 || ret_holders->n > 0 ||
			attempt == BUSY_ATTEMPTS)
			return -EBUSY;
		(void)usleep(BUSY_PAUSE_US);
		r = mount_look(call, target, &now);
		if (r < 0)
			return r;
		if (!now || now->id != mount->id)
			return -EINVAL;
	}
}

/* What hangs in the kernel already is let go of only lazily. */
static int check_responds(struct call *call, const char *target, Postern__V1__UnmountMode mode,
	const Postern__V1__MountEntry *entry)
{
	if (mode == POSTERN__V1__UNMOUNT_MODE__LAZY ||
		!worker_is_quarantined(call, makedev(entry->major, entry->minor), TOUCH_WRITE))
		return 0;
	return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, 0,
		"%s does not respond and somebody hangs on it; only a lazy unmount is possible",
		target);
}

/* The mount is not in the table any more, whatever else may be there now. */
static int confirm_gone(struct call *call, const char *target, const Postern__V1__MountEntry *was)
{
	Postern__V1__MountEntry *now;
	int r = mount_look(call, target, &now);

	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	if (!now || now->id != was->id)
		return 0;
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	return call_fail(call, POSTERN__V1__CODE__INTERNAL, 0,
		"%s: the kernel said that it was unmounted, but it still is in the mount table",
		target);
}

int unmount_do(struct call *call, const char *target, Postern__V1__UnmountMode mode,
	Postern__V1__MountEntry **ret_entry, Postern__V1__Holder ***ret_holders, size_t *ret_n)
{
	struct holders holders = {0};
	int flags = mode == POSTERN__V1__UNMOUNT_MODE__LAZY    ? MNT_DETACH
		    : mode == POSTERN__V1__UNMOUNT_MODE__FORCE ? MNT_FORCE
							       : 0;
	int r;

	if (place_is_protected(target))
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"%s is never unmounted: the guest cannot do without it", target);
	r = mount_look(call, target, ret_entry);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	if (!*ret_entry)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, EINVAL,
			"nothing is mounted at %s", target);
	r = check_responds(call, target, mode, *ret_entry);
	if (r < 0)
		return r;
	if (flags == MNT_DETACH)
		(void)holders_find(call, *ret_entry, &holders);
	r = unmount_patiently(call, target, flags, *ret_entry, &holders);
	if (r == -EBUSY)
		return fail_busy(call, target, &holders);
	if (r == -EINVAL && !call->error)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, EINVAL,
			"nothing is mounted at %s", target);
	if (r < 0)
		return call->error ? r : call_fail_errno(call, r, "%s", target);
	*ret_holders = holders.list;
	*ret_n = holders.n;
	return confirm_gone(call, target, *ret_entry);
}

int mounts_unmount(struct call *call, const Postern__V1__MountsUnmountRequest *request,
	Postern__V1__MountsUnmountReply *reply)
{
	char *target = call_path(call, request->has_target, &request->target, "target");

	if (!target)
		return -EINVAL;
	return unmount_do(
		call, target, request->mode, &reply->mount, &reply->holders, &reply->n_holders);
}

int settle_unmount(struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret)
{
	const Postern__V1__MountsUnmountRequest *request =
		(const Postern__V1__MountsUnmountRequest *)message;

	return mount_settle(call, request->has_target, &request->target, false, ret);
}
