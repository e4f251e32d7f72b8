/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/disk_table.h"
#include "proto/cleanup.h"
#include "proto/copy/open.h"
#include "proto/limits.h"

#define KEPT_OPEN_MAX 32 /* disks and partitions whose files are kept open */

/* 0: it is not known. */
static uint64_t count_uevents(void)
{
	static int fd = -EBADF;
	char text[32] = "";

	if (fd < 0)
		fd = open("/sys/kernel/uevent_seqnum", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

static uint32_t number_of(struct call *call, int dir, const char *name)
{
	const char *text = disk_attribute(call, dir, name);

	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static int describe(struct call *call, int dir, struct disk_facts *facts)
{
	Postern__V1__Disk *disk = &facts->disk;
	const char *device = disk_attribute(call, dir, "dev");

	postern__v1__disk__init(disk);
	disk->has_name = disk->has_removable = true;
	disk->name = call_text(call, facts->name);
	if (!disk->name.data)
		return -ENOMEM;
	for (char *at = (char *)disk->name.data; *at; at++)
		*at = *at == '!' ? '/' : *at; /* "cciss!c0d0" is /dev/cciss/c0d0 */
	disk->removable = number_of(call, dir, "removable") != 0;
	if (device)
		disk->has_major = disk->has_minor =
			sscanf(device, "%u:%u", &disk->major, &disk->minor) == 2;
	disk->has_partition = faccessat(dir, "partition", F_OK, 0) == 0;
	disk->partition = disk->has_partition ? number_of(call, dir, "partition") : 0;
	facts->uuid = disk_attribute(call, dir, "dm/uuid") ?: disk_attribute(call, dir, "md/uuid");
	facts->is_hidden = number_of(call, dir, "hidden") != 0;
	return disk_describe_bus(call, dir, facts->link, disk);
}

/* Below the disk's folder. A partition's disk has these of both. */
static const char *name_of(const struct disk_facts *facts, enum disk_number number)
{
	static const char *const names[] = {[DISK_SIZE] = "size",
		[DISK_READ_ONLY] = "ro",
		[DISK_BLOCK_SIZE] = "queue/logical_block_size",
		[DISK_ROTATIONAL] = "queue/rotational"};

	return number == DISK_BLOCK_SIZE && facts->disk.has_partition
		       ? "../queue/logical_block_size"
		       : names[number];
}

int64_t disk_facts_number(const struct disk_facts *facts, int block, enum disk_number number)
{
	AUTO_CLOSE int own = -EBADF;
	char path[NAME_MAX + 64], text[32] = "";
	ssize_t n;

	if (facts->fds[number] < 0) {
		(void)snprintf(path, sizeof(path), "%s/%s", facts->name, name_of(facts, number));
		own = openat(block, path, O_RDONLY | O_CLOEXEC);
	}
	n = pread(own < 0 ? facts->fds[number] : own, text, sizeof(text) - 1, 0);
	if (n < 0 && (errno == ENODEV || faccessat(block, facts->name, F_OK, 0) < 0))
		return -ENODEV;
	return strtoll(text, NULL, 10);
}

/* A file of sysfs is made anew on each reading from its beginning. */
static void open_numbers(int dir, struct disk_facts *facts)
{
	for (enum disk_number i = 0; i < DISK_NUMBERS; i++)
		facts->fds[i] = openat(dir, name_of(facts, i), O_RDONLY | O_CLOEXEC);
}

/* The folder of a partition is in its disk's. */
static int find_parent(struct call *call, struct disk_facts *facts)
{
	const char *end = strrchr(facts->link, '/'), *start = end;

	while (start > facts->link && start[-1] != '/')
		start--;
	facts->disk.has_parent = true;
	facts->disk.parent = call_bytes(call, start, (size_t)(end - start));
	return facts->disk.parent.data ? 0 : -ENOMEM;
}

/* 1: taken; 0: there is no such disk any more; or -ENOMEM. */
static int read_one(
	struct call *call, int block, const char *name, bool few, struct disk_facts *facts)
{
	AUTO_CLOSE int dir = openat(block, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char link[PATH_MAX];
	ssize_t n = readlinkat(block, name, link, sizeof(link) - 1);
	int r;

	if (dir < 0 || n <= 0)
		return 0;
	link[n] = '\0';
	if (!strchr(link, '/'))
		return 0;
	facts->name = arena_strdup(call->arena, name);
	facts->link = arena_strdup(call->arena, link);
	if (!facts->name || !facts->link)
		return -ENOMEM;
	for (size_t i = 0; i < DISK_NUMBERS; i++)
		facts->fds[i] = -EBADF;
	r = describe(call, dir, facts);
	if (r == 0 && facts->disk.has_partition)
		r = find_parent(call, facts);
	if (r == 0 && few)
		open_numbers(dir, facts);
	return r < 0 ? r : 1;
}

static int by_name(const void *a, const void *b)
{
	const struct disk_facts *one = a, *other = b;

	return strverscmp(one->name, other->name);
}

static size_t count_entries(DIR *dir)
{
	size_t n = 0;

	while (n < DISKS_MAX && readdir(dir))
		n++;
	rewinddir(dir);
	return n;
}

static int read_all(
	struct call *call, int block, bool keep_open, struct disk_facts **ret, size_t *ret_n)
{
	AUTO(dir_closep) DIR *dir = dir_open(block);
	size_t max = dir ? count_entries(dir) : 0;
	int r = 0;

	*ret_n = 0;
	if (!dir)
		return -errno;
	*ret = arena_alloc(call->arena, (max + 1) * sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (struct dirent *entry; r >= 0 && *ret_n < max && (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		r = read_one(call, block, entry->d_name, keep_open && max <= KEPT_OPEN_MAX,
			&(*ret)[*ret_n]);
		*ret_n += r == 1;
	}
	qsort(*ret, *ret_n, sizeof(**ret), by_name);
	return r < 0 ? r : 0;
}

int disk_facts_read(struct call *call, int block, struct disk_facts **ret, size_t *ret_n)
{
	return read_all(call, block, false, ret, ret_n);
}

void disk_memo_clear(struct disk_memo *memo)
{
	for (size_t i = 0; i < memo->n; i++)
		for (size_t j = 0; j < DISK_NUMBERS; j++)
			(void)fd_close(memo->facts[i].fds[j]);
	arena_done(&memo->arena);
	*memo = (struct disk_memo){0};
}

int disk_memo_read(struct disk_memo *memo, struct call *call, int block)
{
	uint64_t uevents = count_uevents();
	struct call keeping = *call; /* of which only the arena counts */
	int r;

	if (uevents != 0 && uevents == memo->uevents)
		return 0;
	disk_memo_clear(memo);
	arena_init(&memo->arena, ARENA_REQUEST_MAX);
	keeping.arena = &memo->arena;
	r = read_all(&keeping, block, true, &memo->facts, &memo->n);
	if (r < 0)
		disk_memo_clear(memo);
	else
		memo->uevents = uevents;
	return r;
}
