/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/reach.h"

#include <errno.h>
#include <unistd.h>

#include "agent/inner.h"
#include "agent/methods/mount_path.h"

struct way {
	const char *path;
	uint64_t device; /* that it ends on; 0: not known */
	bool hangs;      /* somebody hangs on what it leads through */
};

static bool is_quarantined(const struct quarantine *quarantine, uint64_t device)
{
	for (uint32_t i = 0; i < quarantine->n && i < QUARANTINE_MAX; i++)
		if (quarantine->place[i].device == device && !quarantine->place[i].writes_only)
			return true;
	return false;
}

/* Links are not looked at, and most of them lie in the root: what a path that seems to lead nowhere
 * else hangs on is not known. */
static int follow(const struct mount_map *map, const struct quarantine *quarantine, struct way *way)
{
	struct crossing crossings[CROSSINGS_MAX];
	size_t n = 0;
	int r = mount_path_crossings(map, way->path, crossings, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (crossings[i].len == 1)
			continue;
		way->device = crossings[i].device;
		way->hangs |= is_quarantined(quarantine, way->device);
	}
	return r;
}

static int fail_reach(struct call *call, const char *path)
{
	(void)call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
		"%s: its file system does not respond, and somebody hangs on it; a lazy unmount "
		"takes it away",
		path);
	return -EHOSTDOWN;
}

/* Files that can be reached stay, with their devices. */
static int choose_paths(struct call *call, struct spec *spec, const struct way *ways, size_t n)
{
	const char **paths = arena_alloc(call->arena, (n + 1) * sizeof(*paths));
	uint64_t *devices = arena_alloc(call->arena, (n + 1) * sizeof(*devices));
	size_t kept = 0;

	if (!paths || !devices)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (ways[i].hangs)
			continue;
		paths[kept] = ways[i].path;
		devices[kept++] = ways[i].device;
	}
	if (n > 0 && kept == 0)
		return fail_reach(call, ways[0].path);
	spec->program.paths = paths;
	spec->program.path_devices = devices;
	return 0;
}

static int follow_all(struct way *ways, size_t n, int quarantine_fd)
{
	struct quarantine quarantine;
	struct mount_map map;
	int r = mount_map_own(&map);

	if (pread(quarantine_fd, &quarantine, sizeof(quarantine), 0) != (ssize_t)sizeof(quarantine))
		quarantine.n = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = follow(&map, &quarantine, &ways[i]);
	mount_map_done(&map);
	return r;
}

int reach_find(struct call *call, struct spec *spec, int quarantine_fd)
{
	struct way *ways;
	size_t n = 0;
	int r;

	while (spec->program.paths[n])
		n++;
	ways = arena_alloc(call->arena, (n + 1) * sizeof(*ways));
	if (!ways)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		ways[i].path = spec->program.paths[i];
	ways[n].path = spec->program.cwd ? spec->program.cwd : spec->account.home;
	r = follow_all(ways, n + 1, quarantine_fd);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	spec->program.cwd_device = ways[n].device;
	return ways[n].hangs ? fail_reach(call, ways[n].path) : choose_paths(call, spec, ways, n);
}
