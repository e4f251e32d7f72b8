/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/partition_grow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "agent/methods/library.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/openat2.h"

#define ALIGN UINT64_C(1048576) /* bytes: where fdisk(8) has partitions begin and end */

/* Of libfdisk (2.36): what is not declared here is not ours to know. */
static void *(*new_context)(void);
static void (*unref_context)(void *context);
static int (*assign)(void *context, int fd, const char *name, int read_only);
static int (*deassign)(void *context, int no_sync);
static int (*get_partition)(void *context, size_t number, void **partition);
static int (*set_partition)(void *context, size_t number, void *partition);
static size_t (*count_partitions)(void *context);
static uint64_t (*last_sector)(void *context);
static int (*has_start)(void *partition);
static int (*is_nested)(void *partition);
static int (*is_container)(void *partition);
static int (*set_size)(void *partition, uint64_t sectors);
static int (*explicit_size)(void *partition, int enable);
static uint64_t (*start_of)(void *partition);
static uint64_t (*size_of)(void *partition);
static unsigned long (*sector_of)(void *context);
static void (*unref_partition)(void *partition);
static int (*write_table)(void *context);
static int (*has_table)(void *context);

static bool load(void)
{
	static const struct library_symbol symbols[] = {{"fdisk_new_context", &new_context},
		{"fdisk_unref_context", &unref_context}, {"fdisk_assign_device_by_fd", &assign},
		{"fdisk_deassign_device", &deassign}, {"fdisk_has_label", &has_table},
		{"fdisk_get_npartitions", &count_partitions}, {"fdisk_get_last_lba", &last_sector},
		{"fdisk_get_sector_size", &sector_of}, {"fdisk_get_partition", &get_partition},
		{"fdisk_set_partition", &set_partition},
		{"fdisk_unref_partition", &unref_partition},
		{"fdisk_partition_has_start", &has_start},
		{"fdisk_partition_is_nested", &is_nested},
		{"fdisk_partition_is_container", &is_container},
		{"fdisk_partition_get_start", &start_of}, {"fdisk_partition_get_size", &size_of},
		{"fdisk_partition_set_size", &set_size},
		{"fdisk_partition_size_explicit", &explicit_size},
		{"fdisk_write_disklabel", &write_table}};

	return library_load("libfdisk.so.1", symbols, ARRAY_SIZE(symbols)) == 0;
}

/* A block device below /dev, to be written to. */
static int open_disk(struct call *call, const char *disk)
{
	AUTO_CLOSE int dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = dev < 0 ? -errno
				    : path_open(dev, disk, O_RDWR | O_NONBLOCK, 0,
					      RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
						      RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
	struct stat st;

	if (fd < 0)
		return call_fail_errno(call, fd, "/dev/%s", disk);
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return call_fail_errno(call, -ENOTBLK, "/dev/%s", disk);
	if (worker_is_quarantined(call, st.st_rdev, TOUCH_WRITE))
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"/dev/%s does not respond, and somebody hangs on it", disk);
	worker_touch(call, st.st_rdev, TOUCH_WRITE);
	return take_fd(&fd);
}

/* The kernel takes a new length while the partition is in use (BLKPG, since Linux 3.6). */
static int tell_kernel(int fd, void *context, uint32_t number, void *partition)
{
	uint64_t sector = sector_of(context);
	struct blkpg_partition range = {.start = (long long)(start_of(partition) * sector),
		.length = (long long)(size_of(partition) * sector),
		.pno = (int)number};
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_RESIZE_PARTITION, .datalen = sizeof(range), .data = &range};

	return ioctl(fd, BLKPG, &arg) < 0 ? -errno : 0;
}

/* How many sectors it could have: up to the next one, or to the last that the table may use. */
static uint64_t room_for(void *context, void *partition)
{
	uint64_t start = start_of(partition), end = last_sector(context) + 1;
	uint64_t unit = ALIGN / sector_of(context);

	for (size_t i = 0; i < count_partitions(context); i++) {
		void *other = NULL;

		if (get_partition(context, i, &other) < 0 || !other)
			continue;
		if (has_start(other) && start_of(other) > start && start_of(other) < end)
			end = start_of(other);
		unref_partition(other);
	}
	return end <= start ? 0 : unit > 0 ? (end - start) / unit * unit : end - start;
}

/* The table on disk first: a kernel that was not told reads it at the next boot. */
static int change(struct call *call, void *context, int fd, uint32_t number, void *partition)
{
	uint64_t room = room_for(context, partition);
	int r;

	if (is_nested(partition) || is_container(partition))
		return -EOPNOTSUPP;
	if (room <= size_of(partition))
		return 0;
	r = set_size(partition, room);
	r = r < 0 ? r : explicit_size(partition, 1);
	r = r < 0 ? r : set_partition(context, number - 1, partition);
	if (r < 0)
		return r;
	worker_changing(call);
	r = write_table(context);
	return r < 0 ? r : tell_kernel(fd, context, number, partition);
}

static int grow_in(struct call *call, void *context, int fd, uint32_t number)
{
	void *partition = NULL;
	int r = has_table(context) ? get_partition(context, number - 1, &partition) : -ENOENT;

	if (r == 0)
		r = has_start(partition) ? change(call, context, fd, number, partition) : -ENOENT;
	if (partition)
		unref_partition(partition);
	return r;
}

int partition_grow(struct call *call, const char *disk, uint32_t number)
{
	AUTO_CLOSE int fd = open_disk(call, disk);
	void *context;
	int r;

	if (fd < 0)
		return fd;
	context = load() ? new_context() : NULL;
	if (!context)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOPKG,
			"a partition is grown with libfdisk, which this guest has not: install "
			"libfdisk1 (util-linux)");
	r = assign(context, fd, disk, 0);
	if (r == 0) {
		r = grow_in(call, context, fd, number);
		(void)deassign(context, 1);
	}
	unref_context(context);
	worker_touch_done(call);
	return r < 0 ? call_fail_errno(call, r, "partition %u of /dev/%s", number, disk) : 0;
}
