/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was mounted before a reboot, and is to be there again. */
#include <errno.h>
#include <string.h>

#include "agent/init_kind.h"
#include "agent/methods/share.h"
#include "agent/methods/systemd.h"
#include "agent/worker/worker.h"
#include "proto/clock.h"

#define RESTORE_WAIT_MS 5000

/* The agent starts early: what systemd still mounts could hide what is mounted now. */
static int check_early(struct call *call)
{
	if (init_kind() != INIT_SYSTEMD || systemd_unit_is_active("local-fs.target") != 0)
		return 0;
	return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, 0,
		"the local file systems are not mounted yet (local-fs.target)");
}

/* Mounts it as a new one would be, with its secret. */
static int mount_recorded(struct call *call, const char *key, Postern__V1__Share *share)
{
	Postern__V1__SharesMountRequest request = POSTERN__V1__SHARES_MOUNT_REQUEST__INIT;
	Postern__V1__MountEntry *mount;
	struct mount_wish wish;
	int r;

	request.has_target = true;
	request.target = share->target;
	request.has_source = share->has_source;
	request.source = share->source;
	request.type = share->type;
	request.options = share->options;
	request.n_options = share->n_options;
	request.has_wait_ms = true;
	request.wait_ms = RESTORE_WAIT_MS;
	request.has_secret = share_secret_read(call, key, &request.secret) == 0;
	r = share_check(call, &request, &wish);
	return r < 0 ? r : mount_do(call, &wish, &mount);
}

static void note(struct call *call, const char *key, Postern__V1__Share *share,
	Postern__V1__ShareState state, const char *problem)
{
	share->has_state = true;
	share->state = state;
	share->problem = (char *)problem;
	(void)share_record_note(call, key, share);
}

static bool is_mounted(const Postern__V1__Share *share)
{
	return share->state == POSTERN__V1__SHARE_STATE__SHARE_MOUNTED ||
	       share->state == POSTERN__V1__SHARE_STATE__SHARE_NOT_RESPONDING;
}

/* Mounts a recorded share that is not mounted, and notes what became of it. */
static int restore(struct call *call, const char *key, Postern__V1__Share *share, bool has_unit)
{
	Postern__V1__NotifySharesMount notify = POSTERN__V1__NOTIFY_SHARES_MOUNT__INIT;
	int r;

	/* What is true should this process be given up. */
	note(call, key, share, POSTERN__V1__SHARE_STATE__SHARE_FAILED,
		"it is being mounted, or that took too long");
	call->error = NULL;
	r = has_unit ? share_unit_start_again(call, share) : mount_recorded(call, key, share);
	if (r < 0) {
		note(call, key, share, POSTERN__V1__SHARE_STATE__SHARE_FAILED,
			call->error ? call->error->message : strerror(-r));
		return r;
	}
	share->mounted_ns = clock_ns(CLOCK_REALTIME);
	note(call, key, share, POSTERN__V1__SHARE_STATE__SHARE_MOUNTED, NULL);
	notify.share = share;
	worker_notify(call, TOPIC_shares_mount, &notify.base);
	return 0;
}

enum restored share_restore(struct call *call, size_t number)
{
	Postern__V1__Share *share;
	char **keys;
	size_t n;
	int r;

	if (share_record_keys(call, true, &keys, &n) < 0 || number >= n)
		return RESTORE_END;
	/* A record that cannot be read will not get better. */
	if (share_record_from(call, keys[number], true, &share) < 0)
		return RESTORE_DONE;
	r = share_look(call, share);
	if (r < 0)
		return RESTORE_FAILED;
	/* Mounted still (only the agent was started again), or systemd has a unit for it. */
	if (is_mounted(share) || (share->unit && init_kind() == INIT_SYSTEMD)) {
		note(call, keys[number], share, share->state, NULL);
		return RESTORE_DONE;
	}
	r = check_early(call) ?: restore(call, keys[number], share, false);
	return r < 0 ? RESTORE_FAILED : RESTORE_DONE;
}

int share_remount(
	struct call *call, const ProtobufCBinaryData *target, Postern__V1__Share **ret_share)
{
	char *path = call_path(call, true, target, "target");
	char *key = path ? share_key(call, path) : NULL;
	int r;

	if (!key)
		return -EINVAL;
	r = share_record_from(call, key, true, ret_share);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"no persistent share is recorded at %s, and a new one needs its type",
			path);
	if (r < 0)
		return call_fail_errno(call, r, "the record of %s", path);
	r = share_look(call, *ret_share);
	if (r < 0 || is_mounted(*ret_share))
		return r;
	return restore(call, key, *ret_share, share_has_unit((*ret_share)->type ?: ""));
}
