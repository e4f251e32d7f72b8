/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A copy from one guest to another. Both are hostile, to us and to each other: of what each says
 * only what was checked, and is its to say, goes on to the other, in records of our own making. The
 * bytes are not kept, and their digest is for the two ends: the sender makes it, the receiver
 * compares.
 */
#pragma once

#include "proto/copy/copy.h"

struct copy_guest {
	const char *name; /* as the user calls it */
	struct copy_stream *stream;
};

/*
 * Passes a copy on until the receiver has it. watch: as of copy_stream_receive(); problems come
 * with their guest's name. 0, also where something was left out; or -errno as of
 * copy_stream_send(), and *ret_guilty is the guest that it was, or NULL. Blocks.
 */
int copy_relay(const struct copy_guest *from, const struct copy_guest *to,
	const struct copy_asked *asked, const struct copy_watch *watch,
	struct copy_counts *ret_counts, const struct copy_guest **ret_guilty);
