/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/methods/sysfs.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define CGROUP_RECLAIM "/sys/fs/cgroup/memory.reclaim"
#define VM             "/proc/sys/vm/"

/* /proc/buddyinfo: "Node 0, zone Normal", then how many pieces of each power of two are free. */
static uint64_t read_largest_free(void)
{
	AUTO_FILE FILE *file = fopen("/proc/buddyinfo", "re");
	uint64_t largest = 0, page = (uint64_t)sysconf(_SC_PAGESIZE);
	char line[1024];

	while (file && fgets(line, sizeof(line), file)) {
		char *rest = NULL, *word = strtok_r(line, " \n", &rest);

		for (int i = 0; i < 3 && word; i++)
			word = strtok_r(NULL, " \n", &rest);
		for (uint64_t size = page; (word = strtok_r(NULL, " \n", &rest)); size *= 2)
			if (strcmp(word, "0") != 0 && size > largest)
				largest = size;
	}
	return largest;
}

static int measure(struct call *call, Postern__V1__MemoryFigures **ret)
{
	AUTO_FILE FILE *file = fopen("/proc/meminfo", "re");
	Postern__V1__MemoryFigures *to = *ret = arena_alloc(call->arena, sizeof(*to));
	char line[256], name[64];
	uint64_t kib;

	if (!file || !to)
		return file ? -ENOMEM : -errno;
	postern__v1__memory_figures__init(to);
	const struct {
		const char *name;
		uint64_t *value;
	} fields[] = {{"MemTotal", &to->total}, {"MemFree", &to->free},
		{"MemAvailable", &to->available}, {"Cached", &to->cached},
		{"SReclaimable", &to->reclaimable}};
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63[^:]: %" SCNu64, name, &kib) != 2)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			if (strcmp(name, fields[i].name) == 0)
				*fields[i].value = kib << 10;
	}
	to->has_total = to->has_free = to->has_available = true;
	to->has_cached = to->has_reclaimable = to->has_largest_free = true;
	to->largest_free = read_largest_free();
	return 0;
}

static int check(struct call *call, const Postern__V1__MemoryReclaimRequest *request)
{
	if (!request->compact && !request->drop_caches && request->bytes == 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"expected one of compact, bytes and drop_caches");
	if (request->bytes > 0 && access(CGROUP_RECLAIM, F_OK) < 0)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENOENT,
			"bytes: %s is missing (cgroup v2 with the memory controller, Linux 5.19)",
			CGROUP_RECLAIM);
	if (request->compact && access(VM "compact_memory", F_OK) < 0)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENOENT,
			"compact: the kernel was built without compaction");
	return 0;
}

/* What can be read again first, so that there is room to move the rest together. */
static int reclaim(struct call *call, const Postern__V1__MemoryReclaimRequest *request)
{
	char *bytes = arena_printf(call->arena, "%" PRIu64, request->bytes);
	int r = bytes ? 0 : -ENOMEM;

	if (r == 0 && request->bytes > 0)
		r = sysfs_write(bytes, "%s", CGROUP_RECLAIM);
	/* It gave up less than was asked for. */
	if (r == -EAGAIN)
		r = 0;
	if (r == 0 && request->drop_caches)
		r = sysfs_write("3", VM "drop_caches");
	if (r == 0 && request->compact)
		r = sysfs_write("1", VM "compact_memory");
	return r;
}

int memory_reclaim(struct call *call, const Postern__V1__MemoryReclaimRequest *request,
	Postern__V1__MemoryReclaimReply *reply)
{
	int r = check(call, request);

	if (r < 0)
		return r;
	r = measure(call, &reply->before);
	if (r < 0)
		return r;
	worker_changing(call);
	call->outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	r = reclaim(call, request);
	if (r < 0)
		return call_fail_errno(call, r, "memory");
	return measure(call, &reply->after);
}
