/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening what is copied: nothing is opened before it is known to be a file or a folder. */
#pragma once

#include <dirent.h>
#include <stdint.h>

/* One entry of a folder, for reading. 0; -ELOOP: a symbolic link; -ENOTSUP: something else, which
 * was not opened; or -errno. */
int open_entry(int dir, const char *name, int *ret_fd);

/* From a place (borrowed, O_PATH) to the file or folder itself: the same one, whatever its name
 * leads to by now. flags: O_RDONLY, O_WRONLY and the like; it neither waits nor becomes a terminal.
 * 0, or as open_entry(): a device or a FIFO would act on being opened. */
int open_place(int place, int flags, int *ret_fd);

/* Counts the files from an opened file or folder on, and their sizes. What cannot be read counts
 * nothing. */
void open_count(int fd, unsigned int depth, uint64_t *files, uint64_t *bytes);

/* A folder's entries from their beginning, on a descriptor of its own. NULL and errno. */
DIR *dir_open(int fd);

static inline void dir_closep(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}
