/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_entry.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/methods/mount_text.h"
#include "proto/cleanup.h"

/* Wrong lines are skipped, not fatal: the kernel's next version may write more. */
static int skip_bad_line(struct libmnt_table *table, const char *file, int line)
{
	(void)table;
	(void)file;
	(void)line;
	return 1;
}

int mount_table_parse(const struct buffer *text, struct libmnt_table **ret_table)
{
	AUTO_FILE FILE *file = fmemopen(buffer_front(text), buffer_len(text), "r");
	struct libmnt_table *table;
	int r;

	if (!file)
		return -errno;
	table = mnt_new_table();
	if (!table)
		return -ENOMEM;
	mnt_table_set_parser_errcb(table, skip_bad_line);
	r = mnt_table_parse_stream(table, file, "/proc/1/mountinfo");
	if (r != 0) {
		mnt_unref_table(table);
		return r < 0 ? r : -EIO;
	}
	*ret_table = table;
	return 0;
}

int mount_table_read(int fd, struct libmnt_table **ret_table)
{
	struct buffer text = {0};
	int r = mount_text_read(fd, &text);

	if (r == 0)
		r = mount_table_parse(&text, ret_table);
	buffer_clear(&text);
	return r;
}

int mount_table_own(struct libmnt_table **ret_table)
{
	struct buffer text = {0};
	int r = mount_text_own(&text);

	if (r == 0)
		r = mount_table_parse(&text, ret_table);
	buffer_clear(&text);
	return r;
}

int mount_options_split(
	struct arena *arena, const char *list, ProtobufCBinaryData **ret, size_t *ret_n)
{
	size_t n = 1;

	*ret_n = 0;
	if (!list || *list == '\0')
		return 0;
	for (const char *at = list; *at; at++)
		n += *at == ',';
	*ret = arena_alloc(arena, n * sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (const char *at = list; *at;) {
		size_t len = strcspn(at, ",");

		(*ret)[*ret_n].data = arena_copy(arena, at, len);
		(*ret)[*ret_n].len = len;
		if (!(*ret)[*ret_n].data)
			return -ENOMEM;
		++*ret_n;
		at += len + (at[len] == ',');
	}
	return 0;
}

static ProtobufCBinaryData bytes(struct arena *arena, const char *text, protobuf_c_boolean *ret_has)
{
	ProtobufCBinaryData field = {0};

	if (!text)
		return field;
	field.data = arena_copy(arena, text, strlen(text));
	field.len = field.data ? strlen(text) : 0;
	*ret_has = field.data != NULL;
	return field;
}

/* proc_pid_mountinfo(5), optional fields: shared:N, master:N, propagate_from:N, unbindable. */
static const char *propagation_of(struct libmnt_fs *fs)
{
	unsigned long flags = 0;

	(void)mnt_fs_get_propagation(fs, &flags);
	if (flags & MS_UNBINDABLE)
		return "unbindable";
	if ((flags & MS_SHARED) && (flags & MS_SLAVE))
		return "slave,shared";
	if (flags & MS_SHARED)
		return "shared";
	return flags & MS_SLAVE ? "slave" : "private";
}

Postern__V1__MountEntry *mount_entry_new(struct arena *arena, struct libmnt_fs *fs)
{
	Postern__V1__MountEntry *entry = arena_alloc(arena, sizeof(*entry));
	dev_t device = mnt_fs_get_devno(fs);

	if (!entry)
		return NULL;
	postern__v1__mount_entry__init(entry);
	entry->has_id = entry->has_parent_id = entry->has_major = entry->has_minor = true;
	entry->id = (uint32_t)mnt_fs_get_id(fs);
	entry->parent_id = (uint32_t)mnt_fs_get_parent_id(fs);
	entry->major = major(device);
	entry->minor = minor(device);
	entry->root = bytes(arena, mnt_fs_get_root(fs), &entry->has_root);
	entry->source = bytes(arena, mnt_fs_get_source(fs), &entry->has_source);
	entry->target = bytes(arena, mnt_fs_get_target(fs), &entry->has_target);
	entry->type = bytes(arena, mnt_fs_get_fstype(fs), &entry->has_type);
	if (mount_options_split(
		    arena, mnt_fs_get_vfs_options(fs), &entry->options, &entry->n_options) < 0 ||
		mount_options_split(arena, mnt_fs_get_fs_options(fs), &entry->fs_options,
			&entry->n_fs_options) < 0)
		return NULL;
	entry->propagation = (char *)propagation_of(fs);
	entry->has_state = true;
	entry->state = POSTERN__V1__MOUNT_STATE__MOUNTED;
	return entry;
}

struct libmnt_fs *mount_table_find(struct libmnt_table *table, const char *target)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs, *found = NULL;

	if (!iter)
		return NULL;
	/* The last one in the kernel's order covers the others. */
	while (mnt_table_next_fs(table, iter, &fs) == 0) {
		const char *at = mnt_fs_get_target(fs);

		if (at && strcmp(at, target) == 0)
			found = fs;
	}
	mnt_free_iter(iter);
	return found;
}
