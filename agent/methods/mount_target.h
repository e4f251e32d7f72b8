/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The place of a mount, opened so that nobody can swap it meanwhile. */
#pragma once

#include <stdbool.h>

#include "agent/methods/call.h"

/* Paths that are never mounted over nor unmounted. */
bool target_is_protected(const char *path);

/*
 * Opens an absolute path as O_PATH, following no symbolic link anywhere in it; create makes missing
 * folders (0755). *ret_fd is the caller's. 0, or -errno through call_fail().
 */
int target_open(struct call *call, const char *path, bool create, int *ret_fd);

/* Opens the folder above the path in the same way; *ret_name is the last part (borrowed from path).
 */
int target_open_parent(struct call *call, const char *path, int *ret_fd, const char **ret_name);
