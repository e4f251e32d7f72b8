/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/disk_seen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"
#include "proto/client/text.h"
#include "proto/clock.h"

#define FIRST_MS 5
#define MOST_MS  100

void disk_seen_done(struct disk_seen *seen)
{
	json_decref(seen->answer);
	*seen = (struct disk_seen){0};
}

static const json_t *find_part(const json_t *disks, const json_t *disk, uint32_t partition)
{
	const char *name = json_field_string(disk, "name", "");
	const json_t *part;
	size_t i;

	json_array_foreach(disks, i, part)
	{
		if (json_field_int(part, "partition", 0) == (json_int_t)partition &&
			strcmp(json_field_string(part, "parent", ""), name) == 0)
			return part;
	}
	return NULL;
}

int disk_look_in_guest(struct postern_client *client, const struct disk_wish *wish,
	struct disk_seen *ret, struct postern_error *error)
{
	AUTO_JSON json_t *none = json_object();
	const json_t *disks, *disk;
	size_t i;
	int r;

	*ret = (struct disk_seen){0};
	r = json_call_object(client, "disks.list_disks", none, 0, &ret->answer, error);
	if (r < 0)
		return r;
	disks = json_object_get(ret->answer, "disks");
	json_array_foreach(disks, i, disk)
	{
		if (strcmp(json_field_string(disk, "serial", ""), wish->serial) == 0 &&
			!json_object_get(disk, "parent"))
			ret->disk = disk;
	}
	if (ret->disk)
		ret->part = wish->partition == 0 ? ret->disk
						 : find_part(disks, ret->disk, wish->partition);
	return 0;
}

/* "vda (virtio, 1288490188 bytes), vda1 (...)"; the guest's words escaped. */
static void name_all(const struct disk_seen *seen, char *text, size_t size)
{
	const json_t *disk;
	size_t i, at = 0;

	(void)snprintf(text, size, "no disk at all");
	json_array_foreach(json_object_get(seen->answer, "disks"), i, disk)
	{
		const char *name = json_field_string(disk, "name", "?");
		char escaped[64];

		if (at >= size)
			break;
		(void)postern_escape(name, strlen(name), escaped, sizeof(escaped));
		at += (size_t)snprintf(text + at, size - at, "%s%s (%lld bytes)", i ? ", " : "",
			escaped, (long long)json_field_int(disk, "size", 0));
	}
}

static int fail_late(const struct disk_seen *seen, const struct disk_wish *wish,
	uint32_t timeout_ms, struct postern_error *error)
{
	char all[256], number[32] = "";

	if (seen->part && wish->filesystem)
		return fail(error, POSTERN_USAGE, EINVAL,
			"the guest does not know what is on the disk: say it with --type");
	name_all(seen, all, sizeof(all));
	if (wish->partition)
		(void)snprintf(number, sizeof(number), ", partition %u", wish->partition);
	return fail(error, POSTERN_TIMED_OUT, ETIMEDOUT,
		"the guest did not see the disk %s%s%s in %u ms; it sees %s", wish->serial, number,
		seen->part && wish->bytes ? " with its new size" : "", timeout_ms, all);
}

int disk_fail_unseen(struct postern_client *client, const struct disk_wish *wish,
	uint32_t timeout_ms, struct postern_error *error)
{
	struct disk_seen seen = {0};
	int r;

	postern_error_clear(error);
	r = disk_look_in_guest(client, wish, &seen, error);
	if (r == 0)
		r = fail_late(&seen, wish, timeout_ms, error);
	disk_seen_done(&seen);
	return r;
}

static bool is_so(const struct disk_seen *seen, const struct disk_wish *wish)
{
	if (!seen->part)
		return false;
	if (wish->bytes && (uint64_t)json_field_int(seen->disk, "size", 0) != wish->bytes)
		return false;
	return !wish->filesystem || json_field_string(seen->part, "filesystem", NULL);
}

int disk_wait_in_guest(struct postern_client *client, const struct disk_wish *wish,
	uint32_t timeout_ms, struct disk_seen *ret, struct postern_error *error)
{
	uint64_t until = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
	uint32_t step = FIRST_MS;

	for (;;) {
		struct timespec pause = {.tv_nsec = (long)(step * NSEC_PER_MSEC)};
		int r = disk_look_in_guest(client, wish, ret, error);

		if (r < 0 || is_so(ret, wish))
			return r;
		if (monotonic_ns() >= until)
			return fail_late(ret, wish, timeout_ms, error);
		disk_seen_done(ret);
		(void)nanosleep(&pause, NULL);
		step = step * 2 < MOST_MS ? step * 2 : MOST_MS;
	}
}
