/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/methods/call.h"

/* Adds to the clock as it is when the kernel does it: what this takes is not lost. 0, or -errno
 * through call_fail(), and then nothing is changed. */
int clock_step(struct call *call, int64_t adjust_ns);

/* Sets the machine's own clock by it. 0 or -errno. */
int clock_set_hardware(void);
