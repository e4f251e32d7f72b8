/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/methods/call.h"

/* Copies the load history from the descriptor to the state folder, atomically. It may hang as long
 * as that folder's file system does, and says so first (worker_touch()). 0 or -errno. */
int save_history(struct call *call, int from);
