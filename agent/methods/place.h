/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A place in the guest: a path, opened so that nobody can swap it meanwhile, and so that nothing is
 * touched that somebody hangs on. All paths of callers that lead anywhere are opened here, since a
 * look-up alone hangs in a file system that does not answer.
 */
#pragma once

#include <stdbool.h>

#include "agent/methods/call.h"
#include "agent/methods/mount_path.h"
#include "agent/worker/worker.h"

/* Paths that are never mounted over nor unmounted. */
bool place_is_protected(const char *path);

enum place_flags {
	PLACE_FOLDER = 1 << 0, /* nothing but a folder will do */
	PLACE_CREATE = 1 << 1, /* missing folders are made (0755) */
};

/*
 * Opens an absolute path as O_PATH, following no symbolic link anywhere in it. *ret_fd is the
 * caller's. 0, or -errno through call_fail(): -EHOSTDOWN (UNAVAILABLE) at once where the path leads
 * through a quarantined file system. May hang in the kernel; each file system is named to the
 * broker before it is asked, and the last one stays named until worker_touch_done().
 */
int place_open(struct call *call, const char *path, unsigned int flags, int *ret_fd);

/* The same by a map that the caller has made already. */
int place_open_in(struct call *call, const struct mount_map *map, const char *path,
	unsigned int flags, int *ret_fd);

/*
 * For a path that is opened otherwise next, as files are: looks at what its text leads through. 0,
 * or UNAVAILABLE as above, also where it is written to and somebody waits to write there. The last
 * file system stays named to the broker until worker_touch_done().
 */
int place_check(struct call *call, const char *path, enum touch how);

/* Opens the folder above the path in the same way; *ret_name is the last part (borrowed from path).
 */
int place_open_parent(struct call *call, const char *path, int *ret_fd, const char **ret_name);

/*
 * The same for what is done to the path itself next: where that is on a file system of its own,
 * this one is looked at too, and stays named to the broker as touched in this way until
 * worker_touch_done(). flags: PLACE_CREATE or 0; *ret_name is "." for "/".
 */
int place_open_entry(struct call *call, const char *path, unsigned int flags, enum touch how,
	int *ret_fd, const char **ret_name);
