/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/disk_facts.h"
#include "proto/cleanup.h"
#include "proto/copy/open.h"

#define BLOCK       "/sys/class/block"
#define UDEV        "/run/udev/data"
#define SECTOR_SIZE 512         /* of sysfs, whatever the disk's own */
#define UDEV_MAX    (16u << 10) /* bytes of its file on a disk that are looked at */
#define LINKS_MAX   256         /* partitions of a disk, disks beneath one, mounts of one */

static void append(struct call *call, ProtobufCBinaryData **list, size_t *n, const char *text)
{
	if (!*list)
		*list = arena_alloc(call->arena, LINKS_MAX * sizeof(**list));
	if (*list && *n < LINKS_MAX)
		(*list)[(*n)++] = call_text(call, text);
}

static void read_beneath(
	struct call *call, int block, const struct disk_facts *facts, Postern__V1__Disk *disk)
{
	AUTO_CLOSE int dir = openat(block, facts->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
static char *choose_id(
	struct call *call, const struct disk_facts *facts, const Postern__V1__Disk *disk)
{
	if (disk->has_wwid)
		return arena_strdup(call->arena, text_of(&disk->wwid));
	if (disk->has_serial)
		return arena_printf(
			call->arena, "%s-%s", text_of(&disk->bus), text_of(&disk->serial));
	if (facts->uuid)
		return arena_printf(call->arena, "%s-%s", text_of(&disk->bus), facts->uuid);
	return disk_place_name(call, facts->link, disk)
		       ?: arena_strdup(call->arena, text_of(&disk->name));
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
	AUTO_CLOSE int fd = -EBADF;
	char text[UDEV_MAX], *rest = text, *line;
	ssize_t n;

	(void)snprintf(text, sizeof(text), UDEV "/b%u:%u", disk->major, disk->minor);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	/* Each line ends; one that does not was cut. */
	while ((line = strsep(&rest, "\n")) && rest)
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
			size_t len = strlen(wanted[i].key);

			if (*wanted[i].has || strncmp(line, wanted[i].key, len) != 0)
				continue;
			*wanted[i].has = true;
			*wanted[i].field = call_text(call, line + len);
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

/* Devices that stand for no disk as long as they are empty. */
static bool is_nothing_when_empty(const Postern__V1__Disk *disk)
{
	static const char *const buses[] = {"loop", "ram", "zram", "nbd"};

	for (size_t i = 0; i < ARRAY_SIZE(buses); i++)
		if (strcmp(text_of(&disk->bus), buses[i]) == 0)
			return true;
	return false;
}

/* What may change without a word of the kernel's. False: there is no such disk any more, or none
 * at the moment. */
static bool read_changing(
	struct call *call, int block, const struct disk_facts *facts, Postern__V1__Disk *disk)
{
	int64_t size = disk_facts_number(facts, block, DISK_SIZE), block_size;

	if (size < 0 || (size == 0 && is_nothing_when_empty(disk)))
		return false;
	block_size = disk_facts_number(facts, block, DISK_BLOCK_SIZE);
	disk->has_size = disk->has_read_only = true;
	disk->size = (uint64_t)size * SECTOR_SIZE;
	disk->read_only = disk_facts_number(facts, block, DISK_READ_ONLY) > 0;
	disk->has_block_size = block_size > 0;
	disk->block_size = block_size > 0 ? (uint32_t)block_size : 0;
	disk->has_rotational = !disk->has_partition;
	disk->rotational =
		!disk->has_partition && disk_facts_number(facts, block, DISK_ROTATIONAL) > 0;
	/* A controller's disk lies upon no other. */
	if (!disk->has_pci_address)
		read_beneath(call, block, facts, disk);
	return true;
}

/* NULL: there is no such disk, or no memory. */
static Postern__V1__Disk *read_disk(
	struct call *call, int block, const struct disk_facts *facts, struct libmnt_table *mounts)
{
	Postern__V1__Disk *disk = arena_copy(call->arena, &facts->disk, sizeof(*disk));
	char *id;

	if (!disk || facts->is_hidden || !read_changing(call, block, facts, disk))
		return NULL;
	read_udev(call, disk);
	read_mounts(call, mounts, disk);
	id = choose_id(call, facts, disk);
	if (!id)
		return NULL;
	disk->has_id = true;
	disk->id = call_text(call, id);
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

int disk_table_read(struct call *call, struct disk_memo *memo, struct libmnt_table *mounts,
	Postern__V1__Disk ***ret, size_t *ret_n)
{
	AUTO_CLOSE int block = open(BLOCK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct disk_facts *facts = NULL;
	size_t n = 0;
	int r;

	*ret_n = 0;
	*ret = NULL;
	/* A kernel without any block device has no such folder. */
	if (block < 0)
		return errno == ENOENT ? 0 : call_fail_errno(call, -errno, BLOCK);
	r = memo ? disk_memo_read(memo, call, block) : disk_facts_read(call, block, &facts, &n);
	if (r < 0)
		return call_fail_errno(call, r, BLOCK);
	if (memo) {
		facts = memo->facts;
		n = memo->n;
	}
	*ret = arena_alloc(call->arena, (n + 1) * sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		Postern__V1__Disk *disk = read_disk(call, block, &facts[i], mounts);

		if (disk && disk->has_parent)
			join(call, *ret, *ret_n, disk);
		if (disk)
			(*ret)[(*ret_n)++] = disk;
	}
	return 0;
}
