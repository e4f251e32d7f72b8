/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which file systems the start of a program leads to, and whether somebody hangs on one of them. */
#pragma once

#include "agent/job/spec.h"

/*
 * Finds the device of the program's folder and of each file that its name may stand for, by their
 * texts alone: nothing of theirs is touched, and links are not seen. What seems to be in the root
 * file system counts as unknown (0). Files whose paths lead through a device that is quarantined
 * (quarantine_fd: struct quarantine, borrowed) are left out, as a PATH may name several folders. 0,
 * or -errno through call_fail(): -EHOSTDOWN (UNAVAILABLE) where that of the folder, or of each
 * file, does.
 */
int reach_find(struct call *call, struct spec *spec, int quarantine_fd);
