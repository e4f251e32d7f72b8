/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's logs as one: both sources in the order of time, each line of the kernel once. */
#pragma once

#include "agent/methods/log_journal.h"
#include "agent/methods/log_kernel.h"
#include "proto/buffer.h"

struct log_reading {
	struct log_filter filter;
	struct log_kernel kernel;
	struct log_journal journal;
	struct log_cursor position; /* behind the last entry that was sent */
	bool from_end;              /* only so many lines of what there is */
	size_t lines;
	size_t skip;                              /* entries that are not among these */
	void (*count)(void *ctx, uint64_t bytes); /* told after bytes were sent; NULL: nobody is */
	void *ctx;

	bool has_kernel, has_journal; /* the next entry of each is here */
	struct buffer out;
	uint64_t entries, bytes; /* that were sent */
};

/* Once the sources are open: what the kernel still has comes from itself, what is older from the
 * journal. */
void log_reading_begin(struct log_reading *reading);

/* Where somebody would go on who has seen all that there is now. */
void log_reading_now(struct log_reading *reading, struct log_cursor *ret);

/* Goes behind reading->position. 0 or -errno. */
int log_reading_after(struct log_reading *reading);

/* Sends the entries as records on a socket: until there is no more, or with follow until the other
 * side closes it. 0 or -errno; blocks. */
int log_reading_send(struct log_reading *reading, int socket);

/* Closes and frees what it has. */
void log_reading_done(struct log_reading *reading);
