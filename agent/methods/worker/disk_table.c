/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/open.h"

#define BLOCK       "/sys/class/block"
#define UDEV        "/run/udev/data"
#define SECTOR_SIZE 512 /* of sysfs, whatever the disk's own */
#define LINKS_MAX   256 /* partitions of a disk, disks beneath one, mounts of one */

static uint64_t number_of(struct call *call, int dir, const char *name)
{
	const char *text = disk_attribute(call, dir, name);

	return text ? strtoull(text, NULL, 10) : 0;
}

static bool is_set(struct call *call, int dir, const char *name)
{
	return number_of(call, dir, name) != 0;
}

static void append(struct call *call, ProtobufCBinaryData **list, size_t *n, const char *text)
{
	if (!*list)
		*list = arena_alloc(call->arena, LINKS_MAX * sizeof(**list));
	if (*list && *n < LINKS_MAX)
		(*list)[(*n)++] = call_text(call, text);
}

static void read_beneath(struct call *call, int dir, Postern__V1__Disk *disk)
{
	AUTO_CLOSE int fd = openat(dir, "slaves", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir_closep) DIR *entries = fd < 0 ? NULL : dir_open(fd);

	for (struct dirent *entry; entries && (entry = readdir(entries));)
		if (entry->d_name[0] != '.')
			append(call, &disk->beneath, &disk->n_beneath, entry->d_name);
}

static const char *text_of(const ProtobufCBinaryData *bytes)
{
	return (const char *)bytes->data; /* as call_text() leaves it, with a NUL behind */
}

/* What tells this disk from others, best first. */
static char *choose_id(struct call *call, int dir, const char *link, const Postern__V1__Disk *disk)
{
	const char *uuid = disk_attribute(call, dir, "dm/uuid");

	if (!uuid)
		uuid = disk_attribute(call, dir, "md/uuid");
	if (disk->has_wwid)
		return arena_strdup(call->arena, text_of(&disk->wwid));
	if (disk->has_serial)
		return arena_printf(
			call->arena, "%s-%s", text_of(&disk->bus), text_of(&disk->serial));
	if (uuid)
		return arena_printf(call->arena, "%s-%s", text_of(&disk->bus), uuid);
	return disk_place_name(call, link, disk) ?: arena_strdup(call->arena, text_of(&disk->name));
}

/* What udev found on it (its own files, which anybody may read). */
static void read_udev(struct call *call, Postern__V1__Disk *disk)
{
	const struct {
		const char *key;
		protobuf_c_boolean *has;
		ProtobufCBinaryData *field;
	} wanted[] = {{"E:ID_FS_TYPE=", &disk->has_filesystem, &disk->filesystem},
		{"E:ID_FS_LABEL=", &disk->has_filesystem_label, &disk->filesystem_label},
		{"E:ID_FS_UUID=", &disk->has_filesystem_uuid, &disk->filesystem_uuid},
		{"E:ID_PART_ENTRY_NAME=", &disk->has_label, &disk->label},
		{"E:ID_SERIAL_SHORT=", &disk->has_serial, &disk->serial}};
	AUTO_FILE FILE *file = NULL;
	char text[1024];

	(void)snprintf(text, sizeof(text), UDEV "/b%u:%u", disk->major, disk->minor);
	file = fopen(text, "re");
	while (file && fgets(text, sizeof(text), file)) {
		text[strcspn(text, "\n")] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
			size_t len = strlen(wanted[i].key);

			if (*wanted[i].has || strncmp(text, wanted[i].key, len) != 0)
				continue;
			*wanted[i].has = true;
			*wanted[i].field = call_text(call, text + len);
		}
	}
}

static void read_mounts(struct call *call, struct libmnt_table *mounts, Postern__V1__Disk *disk)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	dev_t device = makedev(disk->major, disk->minor);
	char node[300];
	struct libmnt_fs *fs;

	(void)snprintf(node, sizeof(node), "/dev/%s", text_of(&disk->name));
	while (iter && mnt_table_next_fs(mounts, iter, &fs) == 0) {
		const char *source = mnt_fs_get_source(fs), *type = mnt_fs_get_fstype(fs);

		/* Some file systems (btrfs) have a number of their own. */
		if (mnt_fs_get_devno(fs) != device && !(source && strcmp(source, node) == 0))
			continue;
		append(call, &disk->mounted_at, &disk->n_mounted_at, mnt_fs_get_target(fs));
		if (!disk->has_filesystem && type) {
			disk->has_filesystem = true;
			disk->filesystem = call_text(call, type);
		}
	}
	mnt_free_iter(iter);
}

static int describe(
	struct call *call, int dir, const char *name, const char *link, Postern__V1__Disk *disk)
{
	const char *device = disk_attribute(call, dir, "dev");

	disk->has_name = disk->has_size = disk->has_removable = disk->has_read_only = true;
	disk->name = call_text(call, name);
	for (char *at = (char *)disk->name.data; at && *at; at++)
		*at = *at == '!' ? '/' : *at; /* "cciss!c0d0" is /dev/cciss/c0d0 */
	disk->size = number_of(call, dir, "size") * SECTOR_SIZE;
	disk->removable = is_set(call, dir, "removable");
	disk->read_only = is_set(call, dir, "ro");
	if (device)
		disk->has_major = disk->has_minor =
			sscanf(device, "%u:%u", &disk->major, &disk->minor) == 2;
	disk->has_partition = faccessat(dir, "partition", F_OK, 0) == 0;
	disk->partition = disk->has_partition ? (uint32_t)number_of(call, dir, "partition") : 0;
	disk->block_size = (uint32_t)number_of(call, dir,
		disk->has_partition ? "../queue/logical_block_size" : "queue/logical_block_size");
	disk->has_block_size = disk->block_size != 0;
	disk->has_rotational = !disk->has_partition;
	disk->rotational = is_set(call, dir, "queue/rotational");
	read_beneath(call, dir, disk);
	return disk->name.data ? disk_describe_bus(call, dir, link, disk) : -ENOMEM;
}

/* Devices that stand for no disk at the moment; and one of several ways to a disk, which nobody can
 * open. */
static bool is_nothing(struct call *call, int dir, const Postern__V1__Disk *disk)
{
	const char *bus = text_of(&disk->bus);

	if (is_set(call, dir, "hidden"))
		return true;
	return disk->size == 0 && (strcmp(bus, "loop") == 0 || strcmp(bus, "ram") == 0 ||
					  strcmp(bus, "zram") == 0 || strcmp(bus, "nbd") == 0);
}

/* NULL: there is no such disk any more, or no memory. */
static Postern__V1__Disk *read_disk(
	struct call *call, int block, const char *name, struct libmnt_table *mounts)
{
	AUTO_CLOSE int dir = openat(block, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	Postern__V1__Disk *disk = arena_alloc(call->arena, sizeof(*disk));
	char link[PATH_MAX], *id;
	ssize_t n = readlinkat(block, name, link, sizeof(link) - 1);

	if (dir < 0 || n <= 0 || !disk)
		return NULL;
	link[n] = '\0';
	postern__v1__disk__init(disk);
	if (!strchr(link, '/') || describe(call, dir, name, link, disk) < 0 ||
		is_nothing(call, dir, disk))
		return NULL;
	read_udev(call, disk);
	read_mounts(call, mounts, disk);
	id = choose_id(call, dir, link, disk);
	if (!id)
		return NULL;
	disk->has_id = true;
	disk->id = call_text(call, id);
	if (disk->has_partition) {
		char *slash = strrchr(link, '/');

		*slash = '\0';
		slash = strrchr(link, '/');
		disk->has_parent = slash != NULL;
		disk->parent = call_text(call, slash ? slash + 1 : "");
	}
	return disk;
}

/* A partition's disk stands before it: its name is shorter. What is the disk's is the partition's.
 */
static void join(struct call *call, Postern__V1__Disk **disks, size_t n, Postern__V1__Disk *part)
{
	for (size_t i = 0; i < n; i++) {
		Postern__V1__Disk *disk = disks[i];

		if (strcmp(text_of(&disk->name), text_of(&part->parent)) != 0)
			continue;
		append(call, &disk->partitions, &disk->n_partitions, text_of(&part->name));
		part->id = call_text(call, arena_printf(call->arena, "%s-part%u",
						   text_of(&disk->id), part->partition));
		part->removable = disk->removable;
		return;
	}
}

static int by_name(const void *a, const void *b)
{
	const Postern__V1__Disk *const *one = a, *const *other = b;

	return strverscmp(text_of(&(*one)->name), text_of(&(*other)->name));
}

int disk_table_read(
	struct call *call, struct libmnt_table *mounts, Postern__V1__Disk ***ret, size_t *ret_n)
{
	AUTO_CLOSE int block = open(BLOCK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir_closep) DIR *dir = block < 0 ? NULL : dir_open(block);

	*ret_n = 0;
	*ret = arena_alloc(call->arena, DISKS_MAX * sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	/* A kernel without any block device has no such folder. */
	if (!dir)
		return errno == ENOENT ? 0 : call_fail_errno(call, -errno, BLOCK);
	for (struct dirent *entry; *ret_n < DISKS_MAX && (entry = readdir(dir));) {
		Postern__V1__Disk *disk = entry->d_name[0] == '.'
						  ? NULL
						  : read_disk(call, block, entry->d_name, mounts);

		if (disk)
			(*ret)[(*ret_n)++] = disk;
	}
	qsort(*ret, *ret_n, sizeof(**ret), by_name);
	for (size_t i = 0; i < *ret_n; i++)
		if ((*ret)[i]->has_parent)
			join(call, *ret, i, (*ret)[i]);
	return 0;
}
