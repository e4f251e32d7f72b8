/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of the folders that files.watch watches: which is below which, by which name.
 * Nothing of this looks at the folders themselves. */
#pragma once

#include "agent/methods/file_folders.h"

/* One more, whose watch has this number; parent NULL: it is the root. NULL without memory: its
 * watch is taken off. */
struct watched_folder *folder_add(
	struct file_folders *folders, int wd, struct watched_folder *parent, const char *name);

/* A known one is here now. 0 or -ENOMEM. */
int folder_move(struct file_folders *folders, struct watched_folder *folder,
	struct watched_folder *parent, const char *name);

/* Something in it was not found. */
void folder_miss(struct file_folders *folders, struct watched_folder *folder);

/* How many are above it. */
unsigned int folder_depth(const struct watched_folder *folder);

/* The one behind it of those below top, each before what is below it; NULL: it was the last. */
struct watched_folder *folder_following(
	const struct watched_folder *top, struct watched_folder *folder);
