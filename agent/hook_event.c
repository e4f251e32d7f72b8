/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/hook_event.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	const char *name;
	bool after;
} events[HOOK_EVENTS] = {
	[HOOK_FREEZE] = {"freeze", false},
	[HOOK_THAW] = {"thaw", true},
	[HOOK_SHUTDOWN] = {"shutdown", false},
	[HOOK_SUSPEND] = {"suspend", false},
	[HOOK_RESUME] = {"resume", true},
	[HOOK_RESTORED] = {"restored", true},
};

const char *hook_event_name(enum hook_event event)
{
	return events[event].name;
}

bool hook_event_is_after(enum hook_event event)
{
	return events[event].after;
}

bool hook_is_program(const char *name)
{
	return name[0] != '.' && !strchr(name, '~') && !strstr(name, ".dpkg-") &&
	       !strstr(name, ".rpm");
}

int hook_check(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_mode & (S_IWGRP | S_IWOTH))
		return -EPERM;
	return 0;
}
