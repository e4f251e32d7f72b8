/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk of the host away from the guest: unmounted wherever it is, then pulled. */
#include <errno.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/agent_link.h"
#include "host/lib/disk.h"
#include "host/lib/disk_seen.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"

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
