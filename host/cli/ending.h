/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals that want us to end, as a descriptor. */
#pragma once

#include <stddef.h>

/*
 * Blocks these signals and returns a descriptor of signalfd(2) that tells of them (owned by the
 * caller, non-blocking, close-on-exec), or -errno. Those that are ignored stay so: whoever started
 * us with nohup(1), or in the background of a script, has asked for it.
 */
int ending_open(const int *signals, size_t n);
