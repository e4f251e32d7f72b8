/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/file_folder_tree.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

static void link_below(struct watched_folder *parent, struct watched_folder *folder)
{
	folder->parent = parent;
	folder->next = parent->children;
	folder->self = &parent->children;
	if (folder->next)
		folder->next->self = &folder->next;
	parent->children = folder;
}

static void unlink_below(struct watched_folder *folder)
{
	if (!folder->parent)
		return;
	*folder->self = folder->next;
	if (folder->next)
		folder->next->self = folder->self;
	folder->parent = NULL;
}

struct watched_folder *file_folders_find(const struct file_folders *folders, int wd)
{
	struct watched_folder *folder = folders->buckets[(unsigned int)wd % FILE_FOLDERS_BUCKETS];

	while (folder && folder->wd != wd)
		folder = folder->next_alike;
	return folder;
}

static void forget(struct file_folders *folders, struct watched_folder *folder)
{
	struct watched_folder **at =
		&folders->buckets[(unsigned int)folder->wd % FILE_FOLDERS_BUCKETS];

	while (*at != folder)
		at = &(*at)->next_alike;
	*at = folder->next_alike;
	unlink_below(folder);
	folders->missed -= folder->missed;
	if (folders->root == folder)
		folders->root = NULL;
	/* It may be gone already, and its watch with it. */
	if (folders->inotify >= 0)
		(void)inotify_rm_watch(folders->inotify, folder->wd);
	folders->n--;
	free(folder->name);
	free(folder);
}

void file_folders_drop(struct file_folders *folders, struct watched_folder *folder)
{
	struct watched_folder *at = folder;

	/* The deepest first, without recursion: they may lie deep by now. */
	for (;;) {
		struct watched_folder *parent;

		while (at->children)
			at = at->children;
		parent = at->parent;
		if (at == folder)
			break;
		forget(folders, at);
		at = parent;
	}
	forget(folders, folder);
}

void folder_miss(struct file_folders *folders, struct watched_folder *folder)
{
	folders->missed += !folder->missed;
	folder->missed = true;
}

unsigned int folder_depth(const struct watched_folder *folder)
{
	unsigned int depth = 0;

	for (; folder->parent; folder = folder->parent)
		depth++;
	return depth;
}

struct watched_folder *folder_add(
	struct file_folders *folders, int wd, struct watched_folder *parent, const char *name)
{
	struct watched_folder *folder = calloc(1, sizeof(*folder));
	struct watched_folder **bucket = &folders->buckets[(unsigned int)wd % FILE_FOLDERS_BUCKETS];

	if (folder)
		folder->name = strdup(name);
	if (!folder || !folder->name) {
		free(folder);
		(void)inotify_rm_watch(folders->inotify, wd);
		return NULL;
	}
	folder->wd = wd;
	folder->next_alike = *bucket;
	*bucket = folder;
	folders->n++;
	if (parent)
		link_below(parent, folder);
	return folder;
}

int folder_move(struct file_folders *folders, struct watched_folder *folder,
	struct watched_folder *parent, const char *name)
{
	const struct watched_folder *above = parent;
	char *copy;

	if (folder->parent == parent && strcmp(folder->name, name) == 0)
		return 0;
	/* A folder is never below itself: what is known of one of the two is old. */
	do {
		if (above == folder) {
			folder_miss(folders, parent);
			return 0;
		}
		above = above->parent;
	} while (above);
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(folder->name);
	folder->name = copy;
	unlink_below(folder);
	link_below(parent, folder);
	return 0;
}

struct watched_folder *folder_following(
	const struct watched_folder *top, struct watched_folder *folder)
{
	if (folder->children)
		return folder->children;
	while (folder != top && !folder->next)
		folder = folder->parent;
	return folder == top ? NULL : folder->next;
}

int file_folders_path(const struct file_folders *folders, const struct watched_folder *folder,
	const char *name, char path[])
{
	char text[PATH_MAX];
	size_t at = sizeof(text) - 1, len;

	text[at] = '\0';
	for (const char *part = name; part; folder = folder->parent) {
		len = strlen(part);
		if (len > 0) {
			if (at < len + 1)
				return -ENAMETOOLONG;
			at -= len + 1;
			text[at] = '/';
			memcpy(text + at + 1, part, len);
		}
		part = folder->parent ? folder->name : NULL;
		if (!part)
			break;
	}
	len = strcmp(folders->path, "/") == 0 ? 0 : strlen(folders->path);
	if (len + (sizeof(text) - at) > PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(path, folders->path, len);
	memcpy(path + len, text + at, sizeof(text) - at);
	if (path[0] == '\0')
		memcpy(path, "/", sizeof("/"));
	return 0;
}
