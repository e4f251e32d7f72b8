/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk of the host at its place in the guest, as one: image, device and mount, or none of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/agent_link.h"
#include "host/lib/disk.h"
#include "host/lib/disk_image.h"
#include "host/lib/disk_seen.h"
#include "host/lib/postern.h"
#include "messages.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"
#include "proto/clock.h"

#define WAIT_MS      20000
#define MOUNT_MS     60000
#define WAIT_MOST_MS 120000 /* in the guest, at a time */
#define KNOW_MS      2000   /* for the guest's udev to find out what is on a new disk */

/* What is known while a disk is attached. */
struct attach {
	const char *name;
	const struct postern_disk_attach *how;
	struct postern_disk_attached *attached;
	struct postern_client *client;
	const char *type; /* of the file system; NULL: the guest finds out */
	uint64_t until;   /* when the guest must have seen it */
	bool created;     /* the image is ours */
	bool plugged;
	bool mounting;             /* it may be mounted */
	bool asked;                /* mount has been started, and not been ended */
	struct json_pending mount; /* mounts.mount */
};

static int prepare(struct attach *attach, struct postern_error *error)
{
	const struct postern_disk_attach *how = attach->how;
	int r = 0;

	if (how->target && how->target[0] != '/')
		return fail(error, POSTERN_USAGE, EINVAL,
			"where a disk is mounted in the guest is an absolute path");
	if (how->mkfs && (how->read_only || how->partition))
		return fail(error, POSTERN_USAGE, EINVAL,
			"a file system is made on a whole disk that can be written to");
	if (how->create_bytes)
		r = disk_image_create(how->image, how->create_bytes, error);
	attach->created = r == 0 && how->create_bytes != 0;
	if (r == 0 && how->mkfs)
		r = disk_image_mkfs(how->image, how->mkfs, how->force, error);
	return r;
}

static uint32_t wait_of(const struct attach *attach)
{
	return attach->how->wait_ms ? attach->how->wait_ms : WAIT_MS;
}

/* By its serial number, which the guest waits for: whoever asks whether it is there yet is in the
 * way of the answer. */
static int ask_to_mount(struct attach *attach, struct postern_error *error)
{
	const struct postern_disk_attach *how = attach->how;
	int wait_ms = ms_until(attach->until);
	AUTO_JSON json_t *params = NULL;
	int r;

	if (wait_ms > WAIT_MOST_MS)
		wait_ms = WAIT_MOST_MS;
	params = json_pack("{s:s, s:i, s:i, s:s, s:s, s:b}", "source_serial", attach->attached->id,
		"source_partition", (int)how->partition, "wait_ms", wait_ms, "target", how->target,
		"type", attach->type, "create_target", 1);
	if (!params)
		return fail(error, POSTERN_USAGE, EILSEQ, "the place in the guest is not UTF-8");
	if (how->read_only)
		(void)json_object_set_new(params, "options", json_pack("[{s:s}]", "key", "ro"));
	attach->mount = (struct json_pending){0};
	r = json_call_start(attach->client, "mounts.mount", params, (uint32_t)wait_ms + MOUNT_MS,
		&attach->mount, error);
	attach->asked = r == 0;
	return r;
}

static int take_mount(struct attach *attach, struct postern_error *error)
{
	struct postern_disk_attached *attached = attach->attached;
	AUTO_JSON json_t *reply = NULL;
	int r;

	attach->asked = false;
	attach->mounting = true;
	r = json_call_end(attach->client, &attach->mount, &reply, error);
	if (r < 0)
		return r;
	(void)snprintf(attached->device, sizeof(attached->device), "%s",
		json_field_string(json_object_get(reply, "mount"), "source", ""));
	(void)snprintf(attached->type, sizeof(attached->type), "%s", attach->type);
	attached->bytes = (uint64_t)json_field_int(reply, "source_size", 0);
	return 0;
}

static int mount_it(struct attach *attach, struct postern_error *error)
{
	const struct disk_wish wish = {
		.serial = attach->attached->id, .partition = attach->how->partition};

	/* What the guest waits for at a time has an end. */
	for (;;) {
		int r = attach->asked ? 0 : ask_to_mount(attach, error);

		if (r == 0)
			r = take_mount(attach, error);
		/* That it is not there no kernel has to say. */
		if (r == 0 || error->code != POSTERN__V1__CODE__NOT_FOUND || error->sys_errno != 0)
			return r;
		if (monotonic_ns() >= attach->until)
			return disk_fail_unseen(attach->client, &wish, wait_of(attach), error);
		postern_error_clear(error);
	}
}

/* So that who mounts it in the guest stands ready when it comes: later on the guest has its own
 * work with it. */
static void on_id(void *ctx, const char *id)
{
	struct attach *attach = ctx;

	(void)snprintf(attach->attached->id, sizeof(attach->attached->id), "%.15s", id);
	attach->until = monotonic_ns() + wait_of(attach) * NSEC_PER_MSEC;
	/* What fails here fails again when it is waited for. */
	if (attach->how->target && attach->type && ask_to_mount(attach, NULL) == 0)
		(void)postern_client_dispatch(attach->client, NULL);
}

static int plug(struct attach *attach, struct postern_error *error)
{
	const struct postern_disk_attach *how = attach->how;
	int r = disk_plug(attach->name, how->image, how->read_only, on_id, attach,
		attach->attached->id, error);

	attach->plugged = r == 0;
	if (!attach->asked)
		attach->until = monotonic_ns() + wait_of(attach) * NSEC_PER_MSEC;
	/* Nobody waits for what is not coming. */
	if (r < 0 && attach->asked && postern_call_cancel(attach->client, attach->mount.id) == 0)
		(void)postern_client_dispatch(attach->client, NULL);
	return r;
}

static int attach_in_guest(struct attach *attach, struct postern_error *error)
{
	const struct postern_disk_attach *how = attach->how;
	struct postern_disk_attached *attached = attach->attached;
	struct disk_wish wish = {.serial = attached->id, .partition = how->partition};
	struct disk_seen seen = {0};
	int r;

	if (attach->type && how->target)
		return mount_it(attach, error);
	r = disk_wait_in_guest(attach->client, &wish, wait_of(attach), &seen, error);
	if (r == 0 && how->target) {
		disk_seen_done(&seen);
		wish.filesystem = true;
		r = disk_wait_in_guest(attach->client, &wish, KNOW_MS, &seen, error);
		attach->type = json_field_string(seen.part, "filesystem", "");
		if (r == 0)
			r = mount_it(attach, error);
	} else if (r == 0) {
		(void)snprintf(attached->device, sizeof(attached->device), "/dev/%s",
			json_field_string(seen.part, "name", ""));
		attached->bytes = (uint64_t)json_field_int(seen.part, "size", 0);
	}
	disk_seen_done(&seen);
	return r;
}

/* Does the guest say that our device is mounted there? */
static bool is_mounted(struct attach *attach)
{
	const struct disk_wish wish = {
		.serial = attach->attached->id, .partition = attach->how->partition};
	struct disk_seen seen = {0};
	const json_t *target;
	bool mounted = false;
	size_t i;

	if (disk_look_in_guest(attach->client, &wish, &seen, NULL) == 0)
		json_array_foreach(json_object_get(seen.part, "mounted_at"), i, target) mounted |=
			json_is_string(target) &&
			strcmp(json_string_value(target), attach->how->target) == 0;
	disk_seen_done(&seen);
	return mounted;
}

/* The mount first: the guest keeps a device that is mounted. */
static void undo(struct attach *attach, struct postern_error *why)
{
	struct postern_error error = {0};
	size_t len = strlen(why->message);

	/* The connection over which it was asked for may be gone. */
	postern_client_close(take_ptr(attach->client));
	if (attach->mounting && why->outcome != POSTERN_NOT_DONE &&
		agent_link_open(attach->name, &attach->client, NULL) == 0 && is_mounted(attach)) {
		AUTO_JSON json_t *params =
			json_pack("{s:s, s:s}", "target", attach->how->target, "mode", "LAZY");
		AUTO_JSON json_t *reply = NULL;

		(void)json_call_object(attach->client, "mounts.unmount", params, 0, &reply, NULL);
	}
	if (attach->plugged && postern_disk_unplug(attach->name, attach->attached->id, &error) < 0)
		(void)snprintf(why->message + len, sizeof(why->message) - len,
			"; the disk %s is still plugged: %s", attach->attached->id, error.message);
	else if (attach->created)
		(void)unlink(attach->how->image);
	postern_error_clear(&error);
}

int postern_disk_attach(const char *name, const struct postern_disk_attach *how,
	struct postern_disk_attached *ret_attached, struct postern_error *error)
{
	struct postern_error failed = {0};
	struct attach attach = {.name = name,
		.how = how,
		.attached = ret_attached,
		.type = how->type ? how->type : how->mkfs};
	int r;

	*ret_attached = (struct postern_disk_attached){0};
	r = prepare(&attach, &failed);
	/* Before anything is plugged: a guest that does not answer gets no disk. */
	if (r == 0)
		r = agent_link_open(name, &attach.client, &failed);
	if (r == 0)
		r = plug(&attach, &failed);
	if (r == 0)
		r = attach_in_guest(&attach, &failed);
	if (r < 0)
		undo(&attach, &failed);
	postern_client_close(attach.client);
	json_decref(attach.mount.json);
	postern_error_clear(&attach.mount.failed);
	if (error)
		*error = failed;
	else
		postern_error_clear(&failed);
	return r;
}
