/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the table of process 1 shows. */
#include <errno.h>
#include <string.h>

#include "agent/methods/mount_call.h"
#include "agent/methods/mount_entry.h"

int mount_look(struct call *call, const char *target, Postern__V1__MountEntry **ret_entry)
{
	struct libmnt_table *table = NULL;
	struct libmnt_fs *fs;
	int r = mount_table_own(&table);

	*ret_entry = NULL;
	if (r < 0)
		return r;
	fs = mount_table_find(table, target);
	if (fs) {
		*ret_entry = mount_entry_new(call->arena, fs);
		r = *ret_entry ? 0 : -ENOMEM;
	}
	mnt_unref_table(table);
	return r;
}

static struct libmnt_fs *find_id(struct libmnt_table *table, int id)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs, *found = NULL;

	while (iter && !found && mnt_table_next_fs(table, iter, &fs) == 0)
		if (mnt_fs_get_id(fs) == id)
			found = fs;
	mnt_free_iter(iter);
	return found;
}

int mount_look_id(struct call *call, int id, Postern__V1__MountEntry **ret_entry, bool *ret_upon)
{
	struct libmnt_table *table = NULL;
	struct libmnt_fs *fs, *below;
	int r = mount_table_own(&table);

	*ret_entry = NULL;
	*ret_upon = false;
	if (r < 0)
		return r;
	fs = find_id(table, id);
	if (fs) {
		below = find_id(table, mnt_fs_get_parent_id(fs));
		*ret_upon = below && below != fs &&
			    strcmp(mnt_fs_get_target(below), mnt_fs_get_target(fs)) == 0;
		*ret_entry = mount_entry_new(call->arena, fs);
		r = *ret_entry ? 0 : -ENOMEM;
	}
	mnt_unref_table(table);
	return r;
}

int mount_settle(struct call *call, bool has, const ProtobufCBinaryData *bytes, bool mounted,
	Postern__V1__Outcome *ret)
{
	char *target = call_path(call, has, bytes, "target");
	Postern__V1__MountEntry *entry;
	int r = target ? mount_look(call, target, &entry) : -EINVAL;

	if (r == 0)
		*ret = (entry != NULL) == mounted ? POSTERN__V1__OUTCOME__DONE
						  : POSTERN__V1__OUTCOME__NOT_DONE;
	return r;
}
