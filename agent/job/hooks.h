/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "agent/hook_event.h"

/*
 * Runs the programs of an event, in the order of their names, one after another, as root: plain
 * files of root's that nobody else can write, in DIR/EVENT. Each gets the event as its argument and
 * as POSTERN_EVENT, nothing on standard input, and standard output and error of this process. One
 * that still runs at the deadline (CLOCK_MONOTONIC, ns) is killed with all of its process group; so
 * it is when nobody is at the other end of the socket any more. Tells the result there. Blocks all
 * that time.
 */
void hooks_run(const char *dir, enum hook_event event, uint64_t deadline, int socket);
