/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Symbolic links that are received. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether a link in a folder of this depth (1: what came into the target itself) leads to something
 * that came, or may come, with it, whatever other links came. target[0..len) without a NUL behind
 * it. */
bool link_stays_inside(unsigned int depth, const char *target, size_t len);

/* Made; in the place of another link too, in one step. 0; -EEXIST: something else has this name; or
 * -errno. */
int link_make(int dir, const char *name, const char *target);
