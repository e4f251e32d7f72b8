/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file systems that a path leads through, by the mount table's text alone: nothing is touched.
 * Of the table it takes where what is mounted, and no more: this is part of each copy and of each
 * start of a program, whose processes have no other use for libmount and its memory.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "proto/buffer.h"

#define CROSSINGS_MAX 64

struct mount_map {
	struct buffer text; /* in which the targets lie */
	struct mount_point {
		int id, parent_id;
		dev_t device;
		const char *target;
		size_t len; /* of target */
	} * points;         /* owned */
	size_t n;
};

/* The mounts of this process's namespace; released with mount_map_done(). 0; or -errno, and the map
 * is empty. */
int mount_map_own(struct mount_map *ret);

/* Those that text tells of, which is the map's from here on, also after a failure. As above. */
int mount_map_parse(struct buffer text, struct mount_map *ret);

void mount_map_done(struct mount_map *map);

struct crossing {
	dev_t device; /* as in mountinfo; 0: not in the table */
	size_t len;   /* of the path, up to where this file system is mounted; 1: "/" */
};

/*
 * The file systems that looking up path (absolute, as call_path() leaves it, without a symbolic
 * link in it) asks, in order. The last one is that of the path itself, which is not asked for a
 * path that is its mount point. What another mount hides is not among them. 0, or -E2BIG when there
 * are more than CROSSINGS_MAX.
 */
int mount_path_crossings(const struct mount_map *map, const char *path,
	struct crossing ret[CROSSINGS_MAX], size_t *ret_n);
