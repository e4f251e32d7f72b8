/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/share_mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/common/share_request.h"
#include "host/lib/agent_link.h"
#include "host/lib/control_client.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"
#include "proto/encode.h"
#include "shares.pb-c.h"

#define WAIT_DEFAULT 10000
#define BEYOND_WAIT  5000

/* One call over a connection of its own. */
static int call(const char *name, const char *method, const uint8_t *params, size_t len,
	uint32_t timeout_ms, struct postern_error *error)
{
	AUTO(agent_link_closep) struct postern_client *client = NULL;
	int r = agent_link_open(name, &client, error);

	if (r == 0)
		r = postern_call(client, method, params, len, timeout_ms, NULL, NULL, error);
	return r;
}

int share_mount(const char *name, const struct share_config *share, uint32_t wait_ms,
	struct postern_error *error)
{
	uint32_t wait = wait_ms ? wait_ms : WAIT_DEFAULT;
	size_t len = 0;
	AUTO_FREE uint8_t *params = share_mount_request(share, wait, &len);

	if (!params)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "shares.mount");
	return call(name, "shares.mount", params, len, wait + BEYOND_WAIT, error);
}

static int share_unmount(
	const char *name, const char *target, bool lazy, struct postern_error *error)
{
	Postern__V1__SharesUnmountRequest request = POSTERN__V1__SHARES_UNMOUNT_REQUEST__INIT;
	AUTO_FREE uint8_t *params = NULL;
	size_t len;

	request.has_target = 1;
	request.target = (ProtobufCBinaryData){.len = strlen(target), .data = (uint8_t *)target};
	request.has_mode = 1;
	request.mode = lazy ? POSTERN__V1__UNMOUNT_MODE__LAZY : POSTERN__V1__UNMOUNT_MODE__NORMAL;
	params = encode_new(&request.base, &len);
	if (!params)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "shares.unmount");
	return call(name, "shares.unmount", params, len, 0, error);
}

/* Is the topmost mount there the one of this tag? What another one mounted stays. */
static bool is_mounted(struct postern_client *client, const struct share_config *share)
{
	AUTO_JSON json_t *params = json_pack("{s:s}", "target", share->target);
	AUTO_JSON json_t *reply = NULL;
	const json_t *mounts, *top;

	if (!params || json_call_object(client, "mounts.list", params, 0, &reply, NULL) < 0)
		return false;
	mounts = json_object_get(reply, "mounts");
	top = json_array_get(mounts, json_array_size(mounts) - 1);
	return strcmp(json_field_string(top, "type", ""), "virtiofs") == 0 &&
	       strcmp(json_field_string(top, "source", ""), share->tag) == 0;
}

static int unmount_lazily(struct postern_client *client, const char *method, const char *target)
{
	AUTO_JSON json_t *params = json_pack("{s:s, s:s}", "target", target, "mode", "LAZY");
	AUTO_JSON json_t *reply = NULL;

	return params ? json_call_object(client, method, params, 0, &reply, NULL) : -ENOMEM;
}

/*
 * Undoes a share of which only the device is there for certain. The guest does not let a device go
 * that is mounted, so the mount goes first, unless the agent has said that there is none: an answer
 * that did not come leaves it open. Lazily, since what kept the agent from answering may be this
 * very file system; and without a record, if the agent did not get to writing one.
 */
static void undo(const char *name, const struct share_config *share, struct postern_error *why)
{
	AUTO(agent_link_closep) struct postern_client *client = NULL;
	struct postern_error error = {0};
	size_t len = strlen(why->message);

	if (why->outcome != POSTERN_NOT_DONE && agent_link_open(name, &client, NULL) == 0 &&
		is_mounted(client, share) &&
		unmount_lazily(client, "shares.unmount", share->target) < 0)
		(void)unmount_lazily(client, "mounts.unmount", share->target);
	if (postern_share_unplug(name, share->tag, &error) < 0)
		(void)snprintf(why->message + len, sizeof(why->message) - len,
			"; the device is still there: %s", error.message);
	postern_error_clear(&error);
}

int postern_share_add(const char *name, const struct postern_share *share, uint32_t wait_ms,
	char ret_tag[37], struct postern_error *error)
{
	struct postern_error failed = {0};
	struct share_config config = {.target = (char *)share->target,
		.read_only = share->read_only,
		.persistent = share->persistent};
	int r;

	if (!share->target)
		return fail(error, POSTERN_USAGE, EINVAL, "a share needs its place in the guest");
	r = postern_share_plug(name, share, ret_tag, error);
	if (r < 0)
		return r;
	config.tag = ret_tag;
	r = share_mount(name, &config, wait_ms, &failed);
	if (r == 0)
		return 0;
	undo(name, &config, &failed);
	if (error)
		*error = failed;
	else
		postern_error_clear(&failed);
	return r;
}

/* The supervisor's record of the share with this target or tag; a new reference, or NULL. */
static json_t *find(const char *name, const char *target_or_tag, struct postern_error *error)
{
	AUTO_JSON json_t *status = NULL;
	json_t *share;
	size_t i;

	if (control_call_vm(name, "status", NULL, CONTROL_MS, &status, error) < 0)
		return NULL;
	json_array_foreach(json_object_get(status, "shares"), i, share)
	{
		if (strcmp(json_field_string(share, "target", ""), target_or_tag) == 0 ||
			strcmp(json_field_string(share, "tag", ""), target_or_tag) == 0)
			return json_incref(share);
	}
	(void)fail(error, POSTERN_ANSWERED, ENOENT, "the VM %s has no such share", name);
	return NULL;
}

/*
 * A file system without its server keeps whoever touches it waiting for ever, and unmounting
 * touches it (FUSE_DESTROY). Without its device it fails at once instead: so the device goes first.
 */
static int remove_dead(
	const char *name, const char *tag, const char *target, struct postern_error *error)
{
	int r = postern_share_unplug(name, tag, error);

	return r == 0 && target ? share_unmount(name, target, true, error) : r;
}

static int pass_on(struct postern_error *refusal, struct postern_error *error)
{
	int r = refusal->sys_errno ? -refusal->sys_errno : -EREMOTEIO;

	if (error)
		*error = *refusal;
	else
		postern_error_clear(refusal);
	return r;
}

int postern_share_remove(
	const char *name, const char *target_or_tag, bool lazy, struct postern_error *error)
{
	struct postern_error refusal = {0};
	AUTO_JSON json_t *share = find(name, target_or_tag, &refusal);
	const char *target = json_field_string(share, "target", NULL);
	const char *tag = json_field_string(share, "tag", "");
	int r = 0;

	if (!share && target_or_tag[0] == '/' && refusal.sys_errno == ENOENT) {
		/* None of ours: the guest may have mounted it without a device of the host. */
		postern_error_clear(&refusal);
		return share_unmount(name, target_or_tag, lazy, error);
	}
	if (!share)
		return pass_on(&refusal, error);
	/* Its device stays. */
	if (strcmp(json_field_string(share, "type", ""), "9p") == 0 && target)
		return share_unmount(name, target, lazy, error);
	if (strcmp(json_field_string(share, "state", ""), "dead") == 0)
		return remove_dead(name, tag, target, error);
	if (target)
		r = share_unmount(name, target, lazy, &refusal);
	/* Somebody unmounted it before: what is left is the device. */
	if (r < 0 && (refusal.sys_errno == EINVAL || refusal.sys_errno == ENOENT ||
			     refusal.outcome == POSTERN_IN_EFFECT)) {
		postern_error_clear(&refusal);
		r = 0;
	}
	if (r == 0)
		return postern_share_unplug(name, tag, error);
	return pass_on(&refusal, error);
}
