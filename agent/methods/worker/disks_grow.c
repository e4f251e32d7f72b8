/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/methods/disk_place.h"
#include "agent/methods/filesystem_grow.h"
#include "agent/methods/partition_grow.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

static const char *text(const ProtobufCBinaryData *bytes)
{
	return (const char *)bytes->data; /* as call_text() leaves it */
}

/* A SCSI disk's new size is looked at when somebody asks for that; others tell by themselves. */
static void rescan(const char *disk)
{
	char path[PATH_MAX];
	AUTO_CLOSE int fd = -EBADF;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/device/rescan", disk);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1", 1);
}

/* What is to grow: the disk that is named, or its partition, which may be named itself. */
static int choose(struct call *call, const Postern__V1__DisksGrowRequest *request,
	Postern__V1__Disk **ret_part)
{
	Postern__V1__Disk *disk = NULL;
	ProtobufCBinaryData part;
	int r = disk_find(call, request->has_disk, &request->disk, &disk);

	if (r < 0)
		return r;
	*ret_part = disk;
	if (!request->partition && disk->n_partitions == 0)
		return 0;
	if (!request->partition && disk->n_partitions > 1)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"the disk has %zu partitions: say which of them", disk->n_partitions);
	/* As disks.list_disks names them. */
	part = request->partition ? call_text(call, arena_printf(call->arena, "%s-part%u",
							    text(&disk->id), request->partition))
				  : disk->partitions[0];
	return part.data ? disk_find(call, true, &part, ret_part) : -ENOMEM;
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
	Postern__V1__Disk *part = NULL;
	const char *disk;
	int r = choose(call, request, &part);

	if (r < 0)
		return r;
	disk = text(part->has_parent ? &part->parent : &part->name);
	if (!part->has_parent && part->n_mounted_at == 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"/dev/%s is not mounted: a file system grows while it is", disk);
	reply->has_name = reply->has_size = reply->has_size_before = true;
	reply->name = part->name;
	reply->size_before = part->size;
	rescan(disk);
	if (part->has_parent)
		r = partition_grow(call, disk, part->partition);
	/* As large as it is now. */
	if (r == 0)
		r = disk_find(call, true, &reply->name, &part);
	if (r < 0)
		return r;
	reply->size = part->size;
	return grow_filesystem(call, part, reply);
}
