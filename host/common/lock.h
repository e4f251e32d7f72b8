/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open file description locks on whole files: they belong to the open file, so that a process
 * inherits what its parent has locked, and end with the last descriptor of it. Looking at one takes
 * nothing.
 */
#pragma once

#include <stdbool.h>

/* Locks the file, which is open for writing. 0; -EAGAIN where somebody else holds it, unless wait
 * is set: then it blocks; or another -errno. */
int lock_take(int fd, bool wait);

/* Does somebody else hold it? */
bool lock_is_held(int fd);
