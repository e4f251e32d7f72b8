/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/disk_table.h"
#include "agent/methods/filesystem_grow.h"
#include "agent/methods/mount_entry.h"
#include "agent/methods/partition_grow.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

#define NAME_MAX_ 256

/* The guest's disks at one moment. */
struct disks {
	Postern__V1__Disk **list;
	size_t n;
};

static int read_all(struct call *call, struct disks *ret)
{
	struct libmnt_table *mounts = NULL;
	int r = mount_table_own(&mounts);

	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = disk_table_read(call, mounts, &ret->list, &ret->n);
	mnt_unref_table(mounts);
	return r;
}

static const char *text(const ProtobufCBinaryData *bytes)
{
	return (const char *)bytes->data; /* as call_text() leaves it */
}

static bool is_called(const Postern__V1__Disk *disk, const char *name)
{
	return (disk->has_id && strcmp(text(&disk->id), name) == 0) ||
	       strcmp(text(&disk->name), name) == 0 ||
	       (disk->has_serial && strcmp(text(&disk->serial), name) == 0);
}

static const Postern__V1__Disk *find(const struct disks *disks, const char *name)
{
	for (size_t i = 0; i < disks->n; i++)
		if (!disks->list[i]->has_partition && is_called(disks->list[i], name))
			return disks->list[i];
	return NULL;
}

/* number 0: the only one. NULL: there is none, or several; *ret_n tells. */
static const Postern__V1__Disk *find_part(
	const struct disks *disks, const Postern__V1__Disk *disk, uint32_t number, size_t *ret_n)
{
	const Postern__V1__Disk *found = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < disks->n; i++) {
		const Postern__V1__Disk *part = disks->list[i];

		if (!part->has_parent || strcmp(text(&part->parent), text(&disk->name)) != 0 ||
			(number != 0 && part->partition != number))
			continue;
		found = part;
		(*ret_n)++;
	}
	return *ret_n == 1 ? found : NULL;
}

/* A SCSI disk's new size is looked at when somebody asks for that; others tell by themselves. */
static void rescan(const char *disk)
{
	char path[NAME_MAX_ + 64];
	AUTO_CLOSE int fd = -EBADF;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/device/rescan", disk);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1", 1);
}

/* What is to grow: the disk itself or one of its partitions. 0 or -errno through call_fail(). */
static int choose(struct call *call, const Postern__V1__DisksGrowRequest *request, const char *name,
	const Postern__V1__Disk **ret_disk, const Postern__V1__Disk **ret_part)
{
	struct disks disks = {0};
	size_t n = 0;
	int r = read_all(call, &disks);

	if (r < 0)
		return r;
	*ret_disk = find(&disks, name);
	if (!*ret_disk)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "no such disk");
	*ret_part = find_part(&disks, *ret_disk, request->partition, &n);
	if (*ret_part)
		return 0;
	if (n > 1)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"the disk has %zu partitions: say which of them", n);
	if (request->partition)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"the disk has no partition %u", request->partition);
	*ret_part = *ret_disk;
	return 0;
}

static int grow_filesystem(
	struct call *call, const Postern__V1__Disk *part, Postern__V1__DisksGrowReply *reply)
{
	AUTO_FILESYSTEMS struct filesystem_set set = {0};
	const struct filesystem *fs;
	int r = part->n_mounted_at > 0 ? filesystem_set_named(call, part->mounted_at, 1, &set) : 0;

	if (r < 0 || part->n_mounted_at == 0)
		return r;
	fs = &set.list[0];
	worker_changing(call);
	r = filesystem_grow(
		call, fs, part->size, &reply->filesystem_before, &reply->filesystem_size);
	if (r < 0)
		return r;
	reply->has_mounted_at = reply->has_filesystem = true;
	reply->has_filesystem_before = reply->has_filesystem_size = true;
	reply->mounted_at = call_text(call, fs->target);
	reply->filesystem = call_text(call, fs->type);
	return 0;
}

int disks_grow(struct call *call, const Postern__V1__DisksGrowRequest *request,
	Postern__V1__DisksGrowReply *reply)
{
	char *name = call_string(call, request->has_disk, &request->disk, NAME_MAX_ - 1, "disk");
	const Postern__V1__Disk *disk = NULL, *part = NULL;
	int r = name ? choose(call, request, name, &disk, &part) : -EINVAL;

	if (r < 0 || !disk || !part)
		return r;
	if (part == disk && part->n_mounted_at == 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"/dev/%s is not mounted: a file system grows while it is",
			text(&disk->name));
	reply->has_name = reply->has_size = reply->has_size_before = true;
	reply->name = part->name;
	reply->size_before = part->size;
	rescan(text(&disk->name));
	if (part != disk)
		r = partition_grow(call, text(&disk->name), part->partition);
	/* As large as it is now. */
	if (r == 0)
		r = choose(call, request, name, &disk, &part);
	if (r < 0)
		return r;
	reply->size = part->size;
	return grow_filesystem(call, part, reply);
}
