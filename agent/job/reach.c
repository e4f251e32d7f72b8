/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/reach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/inner.h"
#include "proto/cleanup.h"

/* One path, and the mount with the longest name that it begins with, as far as was read. */
struct leading {
	const char *path;
	size_t len;
	uint64_t device;
};

/* mountinfo(5): space, tab, newline and backslash stand there as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3]) {
			*to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
}

static bool lies_below(const char *path, const char *target, size_t len)
{
	return strncmp(path, target, len) == 0 &&
	       (len == 1 || path[len] == '\0' || path[len] == '/');
}

/* A later mount at the same place hides the earlier one. */
static void compare(struct leading *leading, const char *target, uint64_t device)
{
	size_t len = strlen(target);

	if (len < leading->len || !lies_below(leading->path, target, len))
		return;
	leading->len = len;
	/* Links are not looked at, and most of them lie in the root: what a path that seems to lead
	 * nowhere else hangs on is not known. */
	leading->device = len == 1 ? 0 : device;
}

/* "36 35 98:0 /root /target ..." */
static void take_line(char *line, struct leading *leading, size_t n)
{
	unsigned int major, minor;
	int at = 0;
	char *target, *end;

	if (sscanf(line, "%*d %*d %u:%u %*s %n", &major, &minor, &at) != 2 || at == 0)
		return;
	target = line + at;
	end = strchr(target, ' ');
	if (!end)
		return;
	*end = '\0';
	unescape(target);
	for (size_t i = 0; i < n; i++)
		compare(&leading[i], target, makedev(major, minor));
}

static int find_all(struct leading *leading, size_t n)
{
	AUTO_FILE FILE *table = fopen("/proc/self/mountinfo", "re");
	AUTO_FREE char *line = NULL;
	size_t size = 0;

	if (!table)
		return -errno;
	while (getline(&line, &size, table) > 0)
		take_line(line, leading, n);
	return 0;
}

static bool is_quarantined(const struct quarantine *quarantine, uint64_t device)
{
	for (uint32_t i = 0; i < quarantine->n && i < QUARANTINE_MAX; i++)
		if (device != 0 && quarantine->place[i].device == device &&
			!quarantine->place[i].writes_only)
			return true;
	return false;
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
static int choose_paths(struct call *call, struct spec *spec, const struct leading *leading,
	size_t n, const struct quarantine *quarantine)
{
	const char **paths = arena_alloc(call->arena, (n + 1) * sizeof(*paths));
	uint64_t *devices = arena_alloc(call->arena, (n + 1) * sizeof(*devices));
	size_t kept = 0;

	if (!paths || !devices)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (is_quarantined(quarantine, leading[i].device))
			continue;
		paths[kept] = leading[i].path;
		devices[kept++] = leading[i].device;
	}
	if (n > 0 && kept == 0)
		return fail_reach(call, leading[0].path);
	spec->program.paths = paths;
	spec->program.path_devices = devices;
	return 0;
}

int reach_find(struct call *call, struct spec *spec, int quarantine_fd)
{
	const char *cwd = spec->program.cwd ? spec->program.cwd : spec->account.home;
	struct quarantine quarantine = {0};
	struct leading *leading;
	size_t n = 0;
	int r;

	while (spec->program.paths[n])
		n++;
	leading = arena_alloc(call->arena, (n + 1) * sizeof(*leading));
	if (!leading)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		leading[i].path = spec->program.paths[i];
	leading[n].path = cwd;
	if (pread(quarantine_fd, &quarantine, sizeof(quarantine), 0) != (ssize_t)sizeof(quarantine))
		quarantine.n = 0;
	r = find_all(leading, n + 1);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	spec->program.cwd_device = leading[n].device;
	if (is_quarantined(&quarantine, leading[n].device))
		return fail_reach(call, cwd);
	return choose_paths(call, spec, leading, n, &quarantine);
}
