/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/init_kind.h"
#include "agent/methods/mount_call.h"
#include "agent/methods/mount_options.h"
#include "agent/methods/mount_remote.h"
#include "agent/methods/mount_source.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/share.h"
#include "agent/methods/systemd.h"
#include "agent/worker/worker.h"
#include "proto/clock.h"

#define SHARES_MAX 1024
#define SECRET_MAX 4096

/* ---- list ---- */

int share_look(struct call *call, Postern__V1__Share *share)
{
	char *target = arena_copy(call->arena, share->target.data, share->target.len);
	Postern__V1__MountEntry *mount;
	int r = target ? mount_look(call, target, &mount) : -ENOMEM;

	if (r < 0)
		return r;
	share->has_state = true;
	if (mount && worker_is_quarantined(call, makedev(mount->major, mount->minor), TOUCH_WRITE))
		share->state = POSTERN__V1__SHARE_STATE__SHARE_NOT_RESPONDING;
	else if (mount)
		share->state = POSTERN__V1__SHARE_STATE__SHARE_MOUNTED;
	else if (share->state != POSTERN__V1__SHARE_STATE__SHARE_FAILED)
		share->state = POSTERN__V1__SHARE_STATE__SHARE_GONE;
	return 0;
}

int shares_list(struct call *call, const Postern__V1__SharesListRequest *request,
	Postern__V1__SharesListReply *reply)
{
	char **keys;
	size_t n;
	int r = share_record_keys(call, false, &keys, &n);

	(void)request;
	if (r < 0)
		return r;
	reply->shares = arena_alloc(call->arena, n * sizeof(*reply->shares) + 1);
	if (!reply->shares)
		return -ENOMEM;
	for (size_t i = 0; i < n && i < SHARES_MAX && r == 0; i++) {
		/* A record that cannot be read is no reason to show none. */
		if (share_record_from(call, keys[i], false, &reply->shares[reply->n_shares]) == 0)
			r = share_look(call, reply->shares[reply->n_shares++]);
	}
	return r;
}

/* What became of a killed change, which is two: the mount, and what is remembered of it. */
static int share_settle(struct call *call, bool has, const ProtobufCBinaryData *bytes, bool mounted,
	Postern__V1__Outcome *ret)
{
	char *target = call_path(call, has, bytes, "target");
	char *key = target ? share_key(call, target) : NULL;
	Postern__V1__Share *share = NULL;
	int r = key ? share_record_read(call, key, &share) : -EINVAL;

	if (r == 0)
		r = mount_settle(call, has, bytes, mounted, ret);
	if (r == 0 && (share != NULL) != (mounted == (*ret == POSTERN__V1__OUTCOME__DONE)))
		*ret = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	return r;
}

/* ---- mount ---- */

static int check_secret(
	struct call *call, bool has, const ProtobufCBinaryData *secret, struct mount_wish *wish)
{
	if (!has || secret->len == 0)
		return 0;
	if (!wish->type->secret)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"secret: %s takes none", wish->type->name);
	wish->secret = call_string(call, true, secret, SECRET_MAX, "secret");
	return wish->secret ? 0 : -EINVAL;
}

int share_check(struct call *call, const Postern__V1__SharesMountRequest *request,
	struct mount_wish *ret_wish)
{
	struct mount_wish *wish = ret_wish;
	int r;

	*wish = (struct mount_wish){.options = request->options,
		.n_options = request->n_options,
		.create_target = true,
		.wait_ms = request->wait_ms};
	wish->target = call_path(call, request->has_target, &request->target, "target");
	if (!wish->target)
		return -EINVAL;
	r = mount_type_check(call, request->type, &wish->type);
	if (r == 0 && !wish->type->share)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"type: %s is no share; mounts.mount takes it", wish->type->name);
	if (r == 0)
		r = mount_source_check(call, request->has_source, &request->source, wish);
	if (r == 0)
		r = check_secret(call, request->has_secret, &request->secret, wish);
	if (r == 0)
		r = mount_options_check(call, wish->type, wish->options, wish->n_options);
	if (r == 0)
		r = mount_remote_check(call, wish);
	return r;
}

static Postern__V1__Share *describe(
	struct call *call, const Postern__V1__SharesMountRequest *request)
{
	Postern__V1__Share *share = arena_alloc(call->arena, sizeof(*share));

	if (!share)
		return NULL;
	postern__v1__share__init(share);
	share->has_target = true;
	share->target = request->target;
	share->has_source = request->has_source;
	share->source = request->source;
	share->type = request->type;
	share->options = request->options;
	share->n_options = request->n_options;
	share->has_persistent = true;
	share->persistent = request->persistent;
	share->has_state = share->has_mounted_ns = true;
	share->state = POSTERN__V1__SHARE_STATE__SHARE_MOUNTED;
	share->mounted_ns = clock_ns(CLOCK_REALTIME);
	return share;
}

static int mount_by_type(struct call *call, const char *key, const struct mount_wish *wish,
	Postern__V1__Share *share)
{
	Postern__V1__MountEntry *mount;
	int r;

	if (!share_has_unit(wish->type->name))
		return mount_do(call, wish, &mount);
	/* systemd says little about why: everything is tried first, but not attached. */
	r = mount_try(call, wish);
	if (r < 0)
		return r;
	worker_changing(call);
	r = share_unit_start(call, key, share);
	call->outcome = r < 0 ? POSTERN__V1__OUTCOME__NOT_DONE : POSTERN__V1__OUTCOME__DONE;
	return r;
}

/* Undoes the mount of a share that could not be remembered. */
static int undo(struct call *call, const char *key, const Postern__V1__Share *share,
	const char *target, int r)
{
	Postern__V1__Holder **holders;
	Postern__V1__MountEntry *mount;
	size_t n;
	int undone =
		unmount_do(call, target, POSTERN__V1__UNMOUNT_MODE__LAZY, &mount, &holders, &n);

	share_unit_remove(key, share);
	(void)share_record_remove(call, key);
	call->outcome = undone == 0 ? POSTERN__V1__OUTCOME__NOT_DONE
				    : POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	return call_fail_errno(call, r, "the share was mounted but cannot be remembered, %s",
		undone == 0 ? "so it was undone"
			    : "and unmounting it failed, too: mounts.unmount it");
}

/* Nothing but where. */
static bool is_remount(const Postern__V1__SharesMountRequest *request)
{
	return request->has_target && !request->type && !request->has_source &&
	       request->n_options == 0 && !request->has_secret && !request->persistent;
}

int shares_mount(struct call *call, const Postern__V1__SharesMountRequest *request,
	Postern__V1__SharesMountReply *reply)
{
	Postern__V1__NotifySharesMount notify = POSTERN__V1__NOTIFY_SHARES_MOUNT__INIT;
	struct mount_wish wish;
	char *key;
	int r;

	if (is_remount(request))
		return share_remount(call, &request->target, &reply->share);
	r = share_check(call, request, &wish);
	if (r == 0 && request->persistent)
		r = share_record_check(call);
	if (r < 0)
		return r;
	key = share_key(call, wish.target);
	reply->share = describe(call, request);
	if (!key || !reply->share)
		return -ENOMEM;
	r = mount_by_type(call, key, &wish, reply->share);
	if (r < 0)
		return r;
	if (request->persistent)
		r = share_secret_write(call, key, wish.secret)
			    ?: share_service_enable(call, key, reply->share);
	if (r == 0)
		r = share_record_write(call, key, reply->share);
	if (r < 0)
		return undo(call, key, reply->share, wish.target, r);
	share_service_start(reply->share);
	notify.share = reply->share;
	worker_notify(call, TOPIC_shares_mount, &notify.base);
	return 0;
}

int settle_share_mount(
	struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret)
{
	const Postern__V1__SharesMountRequest *request =
		(const Postern__V1__SharesMountRequest *)message;

	return share_settle(call, request->has_target, &request->target, true, ret);
}

/* ---- unmount ---- */

int shares_unmount(struct call *call, const Postern__V1__SharesUnmountRequest *request,
	Postern__V1__SharesUnmountReply *reply)
{
	Postern__V1__NotifySharesUnmount notify = POSTERN__V1__NOTIFY_SHARES_UNMOUNT__INIT;
	char *target = call_path(call, request->has_target, &request->target, "target");
	char *key = target ? share_key(call, target) : NULL;
	Postern__V1__MountEntry *mount;
	Postern__V1__Holder **holders;
	size_t n;
	int r;

	if (!key)
		return -EINVAL;
	r = share_record_read(call, key, &reply->share);
	if (r < 0)
		return call_fail_errno(call, r, "the record of %s", target);
	if (!reply->share)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"no share is recorded at %s; shares.list has them all", target);
	/* Or it would be unmounted, and come back after the next boot. */
	r = reply->share->persistent ? share_record_check(call) : 0;
	if (r < 0)
		return r;
	r = unmount_do(call, target, request->mode, &mount, &holders, &n);
	/* One that somebody else unmounted is forgotten all the same. */
	if (r < 0 && !(call->error && call->error->code == POSTERN__V1__CODE__NOT_FOUND))
		return r;
	call->error = NULL;
	worker_changing(call);
	share_unit_remove(key, reply->share);
	r = share_record_remove(call, key);
	if (r < 0)
		return call_fail_errno(call, r,
			"%s is unmounted, but its record cannot be removed: try again", target);
	reply->share->has_state = true;
	reply->share->state = POSTERN__V1__SHARE_STATE__SHARE_GONE;
	notify.share = reply->share;
	worker_notify(call, TOPIC_shares_unmount, &notify.base);
	return 0;
}

int settle_share_unmount(
	struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret)
{
	const Postern__V1__SharesUnmountRequest *request =
		(const Postern__V1__SharesUnmountRequest *)message;

	return share_settle(call, request->has_target, &request->target, false, ret);
}
