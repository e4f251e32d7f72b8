/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The administrator's programs around what a method does, run by postern-job with all rights, never
 * by the worker itself. */
#pragma once

#include "agent/hook_event.h"
#include "agent/methods/call.h"
#include "messages.h"

/*
 * Has those of an event run, if there are any, and waits until they have ended, at most until a
 * second before the call's deadline. 0, also when one of them failed: the result tells; -errno:
 * they could not be run, and the result says HOOK_NOT_RUN. The row must have the flag HOOKS.
 */
int hooks_call(struct call *call, enum hook_event event, struct hook_result *ret);

/* call_fail() for a result that is not HOOK_OK; rest: what that means, "; nothing was frozen". */
int hooks_fail(struct call *call, enum hook_event event, const struct hook_result *result,
	const char *rest);
