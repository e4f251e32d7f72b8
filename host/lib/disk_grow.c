/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* More room for a disk of the host, all the way to the file system in the guest. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/agent_link.h"
#include "host/lib/control_client.h"
#include "host/lib/disk.h"
#include "host/lib/disk_seen.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"

#define RESIZE_MS 25000
#define SEE_MS    20000
#define GROW_MS   300000

/* Image and device; never smaller. */
static int resize(const char *name, const char *id, uint64_t before, uint64_t bytes,
	struct postern_error *error)
{
	if (bytes < before)
		return fail(error, POSTERN_USAGE, ERANGE,
			"the disk has %" PRIu64 " bytes already, and is made no smaller", before);
	if (bytes == before)
		return 0;
	return control_call_vm(name, "disk-resize",
		json_pack("{s:s, s:I}", "id", id, "size", (json_int_t)bytes), RESIZE_MS, NULL,
		error);
}

static int grow_in_guest(struct postern_client *client, const char *id, uint32_t partition,
	struct postern_disk_grown *ret, struct postern_error *error)
{
	AUTO_JSON json_t *params = json_pack("{s:s}", "disk", id);
	AUTO_JSON json_t *reply = NULL;
	int r;

	if (partition)
		(void)json_object_set_new(params, "partition", json_integer(partition));
	r = json_call_object(client, "disks.grow", params, GROW_MS, &reply, error);
	if (r < 0)
		return r;
	(void)snprintf(
		ret->device, sizeof(ret->device), "/dev/%s", json_field_string(reply, "name", ""));
	(void)snprintf(
		ret->type, sizeof(ret->type), "%s", json_field_string(reply, "filesystem", ""));
	ret->bytes = (uint64_t)json_field_int(reply, "size", 0);
	ret->filesystem_before = (uint64_t)json_field_int(reply, "filesystem_before", 0);
	ret->filesystem_bytes = (uint64_t)json_field_int(reply, "filesystem_size", 0);
	return 0;
}

int postern_disk_grow(const char *name, const struct postern_disk_grow *how,
	struct postern_disk_grown *ret_grown, struct postern_error *error)
{
	AUTO(agent_link_closep) struct postern_client *client = NULL;
	void (*tell)(void *, const char *) = how->on_step;
	struct disk_wish wish = {.serial = ret_grown->id};
	struct disk_seen seen = {0};
	int r = disk_find_id(name, how->id_or_image, ret_grown->id, error);

	if (r == 0)
		r = agent_link_open(name, &client, error);
	if (r == 0)
		r = disk_wait_in_guest(client, &wish, SEE_MS, &seen, error);
	if (r == 0 && tell)
		tell(how->ctx, "making the disk larger");
	if (r == 0)
		r = resize(name, ret_grown->id, (uint64_t)json_field_int(seen.disk, "size", 0),
			how->bytes, error);
	disk_seen_done(&seen);
	if (r == 0 && tell)
		tell(how->ctx, "waiting for the guest to see it");
	wish.bytes = how->bytes;
	if (r == 0)
		r = disk_wait_in_guest(client, &wish, SEE_MS, &seen, error);
	disk_seen_done(&seen);
	if (r == 0 && tell)
		tell(how->ctx, "growing what is on it");
	return r == 0 ? grow_in_guest(client, ret_grown->id, how->partition, ret_grown, error) : r;
}
