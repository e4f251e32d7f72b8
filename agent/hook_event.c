/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/hook_event.h"

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
