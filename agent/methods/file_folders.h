/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The folders that files.watch watches, by inotify(7).
 *
 * Why not fanotify(7), which can watch a whole file system with one mark: it would need
 * CAP_SYS_ADMIN, and CAP_DAC_READ_SEARCH to make paths of its handles; it would hear of every
 * change of the file system, to throw away those that are beneath no folder of the settings; and it
 * refuses file systems without handles or with an id of zero, which FUSE and virtiofs, the ones
 * that hosts share, are. inotify needs nothing but the right to read a folder, hears of what is
 * asked for alone, and works everywhere. Its price is a watch, and here some 150 bytes, for each
 * folder; their number is bounded.
 *
 * A folder is known by the number of its watch, which stands for the folder itself whatever its
 * name: one that is found again elsewhere was moved. Events tell of the past, while a path leads to
 * what is there now; so what is found by path counts only where the folder above it is the one that
 * the event came from. Else that folder has moved, the event of which is still to come, and it is
 * looked through when it does. No folder is kept open, so that what is
 * watched can be unmounted. What is mounted below is not entered, nor asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/methods/file_changes.h"

#define FILE_FOLDERS_BUCKETS 4096

struct watched_folder {
	int wd;
	bool missed; /* something in it was not found, since its path was an old one */
	struct watched_folder *parent;                  /* NULL: the one that all are below */
	struct watched_folder *children, *next, **self; /* self: what points here */
	struct watched_folder *next_alike;              /* in the bucket */
	char *name;                                     /* owned */
};

struct file_folders {
	int inotify; /* owned */
	bool recursive;
	const char *path; /* of the root; borrowed */
	dev_t device;     /* and which one it is */
	ino_t inode;
	uint32_t n, most;
	uint32_t missed; /* so many have something that was not found */
	struct watched_folder *root;
	struct watched_folder *buckets[FILE_FOLDERS_BUCKETS]; /* by number */
	struct file_changes *changes; /* borrowed: where is told what could not be watched */
};

/*
 * Begins with the folder that root (borrowed) is, and those below it. 0, or -errno: -EMFILE and
 * -ENOSPC where the kernel, or our own limit, has no more watches. all: a folder below without one
 * is an error too, else it is a problem that is told.
 */
int file_folders_begin(struct file_folders *folders, int root, bool all);

/* Begins again from its path; -ESTALE: something else is there. 0 or -errno. */
int file_folders_again(struct file_folders *folders);

/* Closes and frees. */
void file_folders_done(struct file_folders *folders);

/* NULL: it is watched no more. */
struct watched_folder *file_folders_find(const struct file_folders *folders, int wd);

/* The path of what has this name in it ("": the folder itself). 0 or -ENAMETOOLONG. */
int file_folders_path(const struct file_folders *folders, const struct watched_folder *folder,
	const char *name, char path[]);

/* A folder came there: it is watched, and what is below it; told: what is found in it came too. */
void file_folders_came(
	struct file_folders *folders, struct watched_folder *parent, const char *name, bool told);

/* The folder has moved: unless it is where it was thought to be, it is watched no more. True: it is
 * there. */
bool file_folders_is_there(struct file_folders *folders, struct watched_folder *folder);

/* The folder and all below it are watched no more. */
void file_folders_drop(struct file_folders *folders, struct watched_folder *folder);

/* So many watches root may have here; 0: unknown. */
uint64_t file_folders_kernel_most(void);
