/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a file of a request is: beneath a folder that the settings name, or on a disk. What is
 * beneath is looked up so that nothing leads out of it, whoever swaps what meanwhile.
 */
#pragma once

#include <stdbool.h>

#include "agent/methods/call.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

struct file_place {
	const char *path;  /* absolute; in the call's arena */
	const char *below; /* the same from the folder that it is beneath; "": that folder itself */
	const char *root;  /* that folder */
	bool follow;       /* links that stay beneath it */
	int dir;           /* owned; where name is looked up */
	const char *name;  /* without follow one part alone, "." for "/" */
};

#define FILE_PLACE_NONE ((struct file_place){.dir = -EBADF})

static inline void file_place_close(struct file_place *place)
{
	place->dir = fd_close(place->dir);
}
#define AUTO_FILE_PLACE AUTO(file_place_close)

enum file_place_flags {
	FILE_FOLLOW = 1 << 0,  /* follow links */
	FILE_PARENTS = 1 << 1, /* missing folders above it are made (0755); not with FILE_FOLLOW */
};

/*
 * Opens what is above the path of a request, beneath a folder of files_roots. The file system that
 * it is on stays named to the broker as touched in this way until worker_touch_done(), unless links
 * are followed: they may lead anywhere. place is FILE_PLACE_NONE at first, and the caller's to
 * close. 0, or -errno through call_fail(): PERMISSION_DENIED where it is beneath none, and as of
 * place_open().
 */
int file_place_open(struct call *call, bool has, const ProtobufCBinaryData *path,
	unsigned int flags, enum touch how, struct file_place *place);

/* The same for a path that is made of a folder and what is below it, both absolute. */
int file_place_open_below(struct call *call, const char *root, const char *below,
	unsigned int flags, enum touch how, struct file_place *place);

/* The folder of a list with colons between that this path is, or is beneath; the longest one, in
 * the call's arena. NULL: none. */
const char *file_place_root(struct call *call, const char *list, const char *path);

/* The place itself, as O_PATH: a link is the link unless links are followed. The caller's
 * descriptor, or -errno. */
int file_look(const struct file_place *place);

/* Opens a file or a folder, as flags say (O_RDONLY, O_WRONLY | O_APPEND); nothing else is opened,
 * and nothing of the kernel's own (proc, sysfs and the like) to be written. 0 with the caller's
 * *ret_fd, or -errno through call_fail(). */
int file_open(struct call *call, const struct file_place *place, int flags, int *ret_fd);

/* The same where nothing but a file, or nothing but a folder, will do. */
int file_open_regular(struct call *call, const struct file_place *place, int flags, int *ret_fd);
int file_open_folder(struct call *call, const struct file_place *place, int *ret_fd);

/* Refuses the folder itself that everything is beneath. 0 or -errno through call_fail(). */
int file_place_is_inside(struct call *call, const struct file_place *place);

/* call_fail() for an errno at this place. */
int file_fail(struct call *call, const struct file_place *place, int negative_errno);

/* The same for a change that did not take place: the error says so. */
int file_fail_undone(struct call *call, const struct file_place *place, int negative_errno);
