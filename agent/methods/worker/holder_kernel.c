/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/holder_search.h"
#include "proto/cleanup.h"

static bool lies_below(const struct search *search, const char *path)
{
	return strncmp(path, search->target, search->target_len) == 0 &&
	       (path[search->target_len] == '/' || path[search->target_len] == '\0');
}

static void note_peer_group(struct search *search, struct libmnt_fs *fs)
{
	const char *fields = mnt_fs_get_optional_fields(fs);
	const char *shared = fields ? strstr(fields, "shared:") : NULL;

	if (shared)
		(void)snprintf(search->peer, sizeof(search->peer), ":%d", atoi(shared + 7));
}

void search_nested(struct search *search, struct libmnt_table *table)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	while (iter && mnt_table_next_fs(table, iter, &fs) == 0)
		if (mnt_fs_get_id(fs) == search->mount_id)
			note_peer_group(search, fs);
		else if (mnt_fs_get_parent_id(fs) == search->mount_id)
			search_add(search, NULL, POSTERN__V1__USE_KIND__NESTED_MOUNT,
				mnt_fs_get_target(fs), -1);
	mnt_free_iter(iter);
}

void search_loop_devices(struct search *search)
{
	DIR *dir = opendir("/sys/block");

	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[PATH_MAX], backing[PATH_MAX] = "";
		AUTO_FILE FILE *file = NULL;

		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		(void)snprintf(
			path, sizeof(path), "/sys/block/%.32s/loop/backing_file", entry->d_name);
		file = fopen(path, "re");
		if (!file || !fgets(backing, sizeof(backing), file))
			continue;
		backing[strcspn(backing, "\n")] = '\0';
		if (lies_below(search, backing))
			search_add(search, NULL, POSTERN__V1__USE_KIND__LOOP_DEVICE, backing, -1);
	}
	(void)closedir(dir);
}

void search_swap(struct search *search)
{
	AUTO_FILE FILE *file = fopen("/proc/swaps", "re");
	char line[PATH_MAX + 128];

	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, " \t\n")] = '\0';
		if (line[0] == '/' && lies_below(search, line))
			search_add(search, NULL, POSTERN__V1__USE_KIND__SWAP, line, -1);
	}
}
