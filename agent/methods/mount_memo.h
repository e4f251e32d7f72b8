/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mount table as entries, parsed anew only when the kernel's text of it has changed.
 *
 * A process that answers one caller after another may keep this: what is in it follows from the
 * kernel's text alone, never from a request, and the text is read and compared on every call. Who
 * asked before, and for what, cannot show in an answer.
 */
#pragma once

#include <stddef.h>

#include "messages.h"
#include "proto/arena.h"
#include "proto/buffer.h"
#include "proto/encode.h"

struct mount_memo_row {
	const Postern__V1__MountEntry *entry;
	struct encoded_message encoded; /* the same, for an answer that leaves it as it is */
};

struct mount_memo {
	struct buffer text; /* that the rows were made of */
	struct arena arena; /* of the rows */
	struct mount_memo_row *rows;
	size_t n;
};

/*
 * Brings the rows up to date with a mountinfo file (borrowed, read from its beginning; the same
 * namespace every time is the caller's care). memo is zero at first. The rows are the memo's and
 * hold until the next call; the entries' state is MOUNTED, usage is left out. 0, or -errno with no
 * rows.
 */
int mount_memo_read(struct mount_memo *memo, int fd);

/* Frees it; it is zero again. */
void mount_memo_clear(struct mount_memo *memo);
