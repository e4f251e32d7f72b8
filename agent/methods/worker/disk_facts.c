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
#include "proto/clock.h"
#include "proto/copy/open.h"
#include "proto/limits.h"

/* The kernel counts before it has taken away what goes, and while it still makes what comes: what
 * was read is kept when the count had been the same for so long. */
#define SETTLED_NS NSEC_PER_SEC

struct kept {
	uint64_t uevents; /* the count when they were read; 0: not known */
	uint64_t since;   /* monotonic_ns() when that was first seen */
	bool settled;     /* they hold as long as the count is that */
	struct arena arena;
	struct disk_facts *facts;
	size_t n;
};

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
static int read_one(struct call *call, int block, const char *name, struct disk_facts *facts)
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
	r = describe(call, dir, facts);
	if (r == 0 && facts->disk.has_partition)
		r = find_parent(call, facts);
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

static int read_all(struct call *call, DIR *dir, int block, struct kept *kept)
{
	size_t max = count_entries(dir);
	int r = 0;

	kept->facts = arena_alloc(call->arena, (max + 1) * sizeof(*kept->facts));
	if (!kept->facts)
		return -ENOMEM;
	for (struct dirent *entry; r >= 0 && kept->n < max && (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		r = read_one(call, block, entry->d_name, &kept->facts[kept->n]);
		kept->n += r == 1;
	}
	qsort(kept->facts, kept->n, sizeof(*kept->facts), by_name);
	return r < 0 ? r : 0;
}

static void forget(struct kept *kept)
{
	kept->settled = false;
	kept->facts = NULL;
	kept->n = 0;
	arena_done(&kept->arena);
	arena_init(&kept->arena, ARENA_REQUEST_MAX);
}

int disk_facts_read(struct call *call, int block, const struct disk_facts **ret, size_t *ret_n)
{
	static struct kept kept;
	AUTO(dir_closep) DIR *dir = NULL;
	struct call keeping = *call; /* of which only the arena counts */
	uint64_t uevents = count_uevents(), now = monotonic_ns();
	int r = 0;

	if (!kept.settled || uevents != kept.uevents) {
		if (uevents != kept.uevents || uevents == 0)
			kept.since = now;
		kept.uevents = uevents;
		forget(&kept);
		dir = dir_open(block);
		keeping.arena = &kept.arena;
		r = dir ? read_all(&keeping, dir, block, &kept) : -errno;
		kept.settled = r == 0 && uevents != 0 && now - kept.since >= SETTLED_NS;
	}
	*ret = kept.facts;
	*ret_n = r < 0 ? 0 : kept.n;
	return r;
}
