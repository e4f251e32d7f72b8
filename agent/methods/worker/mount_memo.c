/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_memo.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/methods/mount_entry.h"
#include "agent/methods/mount_text.h"
#include "proto/encode.h"
#include "proto/limits.h"

static int add(struct mount_memo *memo, struct libmnt_fs *fs)
{
	const Postern__V1__MountEntry *entry = mount_entry_new(&memo->arena, fs);
	const uint8_t *bytes;
	size_t len;

	if (!entry)
		return -ENOMEM;
	bytes = encode_in_arena(&memo->arena, &entry->base, &len);
	if (!bytes)
		return -ENOMEM;
	memo->rows[memo->n].entry = entry;
	encoded_message_init(&memo->rows[memo->n].encoded, bytes, len);
	memo->n++;
	return 0;
}

static int collect(struct mount_memo *memo, struct libmnt_table *table)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	int r = 0;

	arena_init(&memo->arena, ARENA_REQUEST_MAX);
	memo->rows = arena_alloc(
		&memo->arena, ((size_t)mnt_table_get_nents(table) + 1) * sizeof(*memo->rows));
	if (!iter || !memo->rows)
		r = -ENOMEM;
	while (r == 0 && mnt_table_next_fs(table, iter, &fs) == 0)
		r = add(memo, fs);
	mnt_free_iter(iter);
	return r;
}

static int parse(struct mount_memo *memo)
{
	struct libmnt_table *table;
	int r = mount_table_parse(&memo->text, &table);

	if (r < 0)
		return r;
	r = collect(memo, table);
	mnt_unref_table(table);
	return r;
}

static bool same_text(const struct buffer *a, const struct buffer *b)
{
	return buffer_len(a) == buffer_len(b) && buffer_len(a) > 0 &&
	       memcmp(buffer_front(a), buffer_front(b), buffer_len(a)) == 0;
}

int mount_memo_read(struct mount_memo *memo, int fd)
{
	struct buffer text = {0};
	int r = mount_text_read(fd, &text);

	if (r == 0 && same_text(&text, &memo->text)) {
		buffer_clear(&text);
		return 0;
	}
	mount_memo_clear(memo);
	memo->text = text;
	if (r == 0)
		r = parse(memo);
	if (r < 0)
		mount_memo_clear(memo);
	return r;
}

void mount_memo_clear(struct mount_memo *memo)
{
	buffer_clear(&memo->text);
	arena_done(&memo->arena);
	*memo = (struct mount_memo){0};
}
