/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

/*
 * Asks the file systems of the entries for their usage, one question a device. The questions are
 * put by a process that can be given up: a mount that does not answer within a second becomes
 * NOT_RESPONDING, the device that it hangs on is quarantined, and the rest goes on. What is mounted
 * below something that is quarantined cannot be asked. 0 or -errno.
 */
int probe_usage(struct call *call, Postern__V1__MountEntry **entries, size_t n);
