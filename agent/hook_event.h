/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an administrator's programs in the folder of hooks are run for. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum hook_event {
	HOOK_FREEZE,   /* before file systems are frozen */
	HOOK_THAW,     /* after they are thawed, or were not frozen after all */
	HOOK_SHUTDOWN, /* before the guest is brought down */
	HOOK_SUSPEND,  /* before it is sent to sleep */
	HOOK_RESUME,   /* after it woke, or did not sleep after all */
	HOOK_RESTORED, /* after the guest went on from a snapshot */
	HOOK_EVENTS
};

/* The name of its folder below the folder of hooks, "freeze". */
const char *hook_event_name(enum hook_event event);

/* What comes after something: all are run, the last one of the names first, whatever one of them
 * says. Else the first that fails is the last that is run. */
bool hook_event_is_after(enum hook_event event);

/* Whether a name in that folder is a program's, and not what editors and packages leave beside
 * them. */
bool hook_is_program(const char *name);

/* Whether it is run: root's, and not for others to write, since somebody becomes root by it. 0 or
 * -errno. */
int hook_check(const char *path);

enum hook_end { HOOK_OK, HOOK_EXITED, HOOK_KILLED, HOOK_LATE, HOOK_NOT_RUN };

/* What became of the programs of an event: of the first that failed, or HOOK_OK. */
struct hook_result {
	uint32_t end;  /* enum hook_end */
	int32_t value; /* the exit code, the signal, or errno */
	uint32_t run;  /* how many were */
	char name[256];
};
