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
#include "proto/cleanup.h"
#include "proto/client/json_call.h"

#define WAIT_MS  20000
#define MOUNT_MS 60000
#define KNOW_MS  2000 /* for the guest's udev to find out what is on a new disk */

/* ---- Attach ---- */

/* What is known while a disk is attached. */
struct attach {
	const char *name;
	const struct postern_disk_attach *how;
	struct postern_disk_attached *attached;
	struct postern_client *client;
	bool created; /* the image is ours */
	bool plugged;
	bool mounting; /* it may be mounted */
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

static int mount_it(struct attach *attach, const char *type, struct postern_error *error)
{
	const struct postern_disk_attach *how = attach->how;
	AUTO_JSON json_t *params = json_pack("{s:s, s:s, s:s, s:b}", "source",
		attach->attached->device, "target", how->target, "type", type, "create_target", 1);
	AUTO_JSON json_t *reply = NULL;

	if (!params)
		return fail(error, POSTERN_USAGE, EILSEQ, "the place in the guest is not UTF-8");
	if (how->read_only)
		(void)json_object_set_new(params, "options", json_pack("[{s:s}]", "key", "ro"));
	attach->mounting = true;
	return json_call_object(attach->client, "mounts.mount", params, MOUNT_MS, &reply, error);
}

/* Before anything is plugged: a guest that does not answer gets no disk; and the processes that
 * will answer there start while it has nothing else to do. */
static int reach_guest(struct attach *attach, struct postern_error *error)
{
	const struct disk_wish none = {.serial = ""};
	struct disk_seen seen = {0};
	int r = agent_link_open(attach->name, &attach->client, error);

	if (r == 0)
		r = disk_look_in_guest(attach->client, &none, &seen, error);
	disk_seen_done(&seen);
	return r;
}

static int attach_in_guest(
	struct attach *attach, struct disk_seen *seen, struct postern_error *error)
{
	const struct postern_disk_attach *how = attach->how;
	struct postern_disk_attached *attached = attach->attached;
	const char *type = how->type ? how->type : how->mkfs;
	struct disk_wish wish = {.serial = attached->id, .partition = how->partition};
	int r = disk_wait_in_guest(
		attach->client, &wish, how->wait_ms ? how->wait_ms : WAIT_MS, seen, error);

	if (r == 0 && how->target && !type) {
		disk_seen_done(seen);
		wish.filesystem = true;
		r = disk_wait_in_guest(attach->client, &wish, KNOW_MS, seen, error);
		type = json_field_string(seen->part, "filesystem", "");
	}
	if (r < 0)
		return r;
	(void)snprintf(attached->device, sizeof(attached->device), "/dev/%s",
		json_field_string(seen->part, "name", ""));
	attached->bytes = (uint64_t)json_field_int(seen->part, "size", 0);
	if (!how->target)
		return 0;
	(void)snprintf(attached->type, sizeof(attached->type), "%s", type);
	return mount_it(attach, attached->type, error);
}

/* Does the guest say that our device is mounted there? */
static bool is_mounted(struct attach *attach)
{
	AUTO_JSON json_t *params = json_pack("{s:s}", "target", attach->how->target);
	AUTO_JSON json_t *reply = NULL;
	const json_t *mounts;

	if (!params || json_call_object(attach->client, "mounts.list", params, 0, &reply, NULL) < 0)
		return false;
	mounts = json_object_get(reply, "mounts");
	return strcmp(json_field_string(
			      json_array_get(mounts, json_array_size(mounts) - 1), "source", ""),
		       attach->attached->device) == 0;
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
	struct attach attach = {.name = name, .how = how, .attached = ret_attached};
	struct disk_seen seen = {0};
	int r;

	*ret_attached = (struct postern_disk_attached){0};
	r = prepare(&attach, &failed);
	if (r == 0)
		r = reach_guest(&attach, &failed);
	if (r == 0)
		r = postern_disk_plug(name, how->image, how->read_only, ret_attached->id, &failed);
	attach.plugged = r == 0;
	if (r == 0)
		r = attach_in_guest(&attach, &seen, &failed);
	if (r < 0)
		undo(&attach, &failed);
	disk_seen_done(&seen);
	postern_client_close(attach.client);
	if (error)
		*error = failed;
	else
		postern_error_clear(&failed);
	return r;
}

/* ---- Detach ---- */

static int unmount(struct postern_client *client, const char *target, struct postern_error *error)
{
	AUTO_JSON json_t *params = json_pack("{s:s}", "target", target);
	AUTO_JSON json_t *reply = NULL;

	return params ? json_call_object(client, "mounts.unmount", params, 0, &reply, error)
		      : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "mounts.unmount");
}

/* All places of a disk or a partition, the last one mounted first. */
static int unmount_all(
	struct postern_client *client, const json_t *disk, struct postern_error *error)
{
	const json_t *targets = json_object_get(disk, "mounted_at");
	int r = 0;

	for (size_t i = json_array_size(targets); r == 0 && i > 0; i--)
		r = unmount(client, json_string_value(json_array_get(targets, i - 1)) ?: "", error);
	return r;
}

/* Of the disk with this serial number, and of its partitions. */
static int unmount_disk(const char *name, const char *serial, struct postern_error *error)
{
	AUTO(agent_link_closep) struct postern_client *client = NULL;
	const struct disk_wish wish = {.serial = serial};
	struct disk_seen seen = {0};
	const json_t *part;
	size_t i;
	int r = agent_link_open(name, &client, error);

	if (r == 0)
		r = disk_look_in_guest(client, &wish, &seen, error);
	if (r == 0 && seen.disk) {
		const char *of = json_field_string(seen.disk, "name", "");

		r = unmount_all(client, seen.disk, error);
		json_array_foreach(json_object_get(seen.answer, "disks"), i, part)
		{
			if (r == 0 && strcmp(json_field_string(part, "parent", ""), of) == 0)
				r = unmount_all(client, part, error);
		}
	}
	disk_seen_done(&seen);
	return r;
}

int postern_disk_detach(
	const char *name, const char *id_or_image, char ret_id[16], struct postern_error *error)
{
	int r = disk_find_id(name, id_or_image, ret_id, error);

	if (r == 0)
		r = unmount_disk(name, ret_id, error);
	return r < 0 ? r : postern_disk_unplug(name, ret_id, error);
}
