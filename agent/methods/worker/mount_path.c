/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_path.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool lies_on(const char *path, const char *target)
{
	size_t len = strlen(target);

	if (strcmp(target, "/") == 0)
		return true;
	return strncmp(path, target, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool has_id(struct libmnt_table *table, int id, const struct libmnt_fs *except)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	bool found = false;

	while (iter && !found && mnt_table_next_fs(table, iter, &fs) == 0)
		found = fs != except && mnt_fs_get_id(fs) == id;
	mnt_free_iter(iter);
	return found;
}

/*
 * The mount that a look-up meets next on its way through below (NULL: where it begins). Of those on
 * the way the first one hides the others, which were mounted before it.
 */
static struct libmnt_fs *find_next(
	struct libmnt_table *table, struct libmnt_fs *below, const char *path)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs, *found = NULL;

	while (iter && mnt_table_next_fs(table, iter, &fs) == 0) {
		const char *target = mnt_fs_get_target(fs);

		if (fs == below || !target || !lies_on(path, target) ||
			(found && strlen(target) > strlen(mnt_fs_get_target(found))))
			continue;
		/* The first one's parent is in another namespace, or itself. */
		if (below ? mnt_fs_get_parent_id(fs) == mnt_fs_get_id(below)
			  : !has_id(table, mnt_fs_get_parent_id(fs), fs))
			found = fs;
	}
	mnt_free_iter(iter);
	return found;
}

int mount_path_crossings(struct libmnt_table *table, const char *path,
	struct crossing ret[CROSSINGS_MAX], size_t *ret_n)
{
	struct libmnt_fs *fs = find_next(table, NULL, path);
	int most = mnt_table_get_nents(table);

	ret[0] = (struct crossing){.len = 1};
	*ret_n = 1;
	/* Each mount is met once; a table that says otherwise is not followed for ever. */
	for (; fs && most > 0; fs = find_next(table, fs, path), most--) {
		struct crossing next = {
			.device = mnt_fs_get_devno(fs), .len = strlen(mnt_fs_get_target(fs))};

		/* What is mounted over another's root is all that a look-up meets. */
		if (next.len != ret[*ret_n - 1].len)
			++*ret_n;
		if (*ret_n > CROSSINGS_MAX)
			return -E2BIG;
		ret[*ret_n - 1] = next;
	}
	return 0;
}
