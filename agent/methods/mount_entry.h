/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of the mount table as messages: for mounts.* and notify.mounts.*. */
#pragma once

#include <libmount/libmount.h>
#include <sys/types.h>

#include "messages.h"
#include "proto/arena.h"
#include "proto/buffer.h"

/* A new table of a mountinfo file's text, which the caller releases with mnt_unref_table(). 0 or
 * -errno. */
int mount_table_parse(const struct buffer *text, struct libmnt_table **ret_table);

/* Reads a mountinfo file through fd (borrowed, read from its beginning) into a new table that the
 * caller releases with mnt_unref_table(). 0 or -errno. */
int mount_table_read(int fd, struct libmnt_table **ret_table);

/* The same for the namespace of this process. */
int mount_table_own(struct libmnt_table **ret_table);

/* The entry in the arena; NULL without memory. Usage is left out, the state is MOUNTED. */
Postern__V1__MountEntry *mount_entry_new(struct arena *arena, struct libmnt_fs *fs);

/* The topmost mount at exactly this path (borrowed from the table), NULL where there is none. */
struct libmnt_fs *mount_table_find(struct libmnt_table *table, const char *target);

/* The options of the comma-separated list, each as an element in the arena. 0 or -ENOMEM. */
int mount_options_split(
	struct arena *arena, const char *list, ProtobufCBinaryData **ret, size_t *ret_n);
