/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file systems that a path leads through, by the mount table's text alone: nothing is touched.
 */
#pragma once

#include <libmount/libmount.h>
#include <stddef.h>
#include <sys/types.h>

#define CROSSINGS_MAX 64

struct crossing {
	dev_t device; /* as in mountinfo(5); 0: not in the table */
	size_t len;   /* of the path, up to where this file system is mounted; 1: "/" */
};

/*
 * The file systems that looking up path (absolute, as call_path() leaves it, without a symbolic
 * link in it) asks, in order. The last one is that of the path itself, which is not asked for a
 * path that is its mount point. What another mount hides is not among them. 0, or -E2BIG when there
 * are more than CROSSINGS_MAX.
 */
int mount_path_crossings(struct libmnt_table *table, const char *path,
	struct crossing ret[CROSSINGS_MAX], size_t *ret_n);
