/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a sender keeps to the protocol, and to what it was asked for: the same for who receives a
 * copy and for who passes one on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "copy.pb-c.h"

struct copy_asked {
	bool recursive; /* folders may come */
	/* What the sender was asked for (borrowed): one thing of the name of each, and nothing
	 * else, comes into the target itself. NULL: what the sender likes. */
	const char *const *paths;
	size_t n_paths;
};

struct copy_check {
	const struct copy_asked *asked; /* borrowed */
	bool *came;                     /* owned; of each of its paths */
	bool excused;                   /* the sender has said that something is left out */
	unsigned int depth;
	enum {
		COPY_BETWEEN, /* in no file */
		COPY_WAITS,   /* the receiver is to say what it has */
		COPY_AGREES,  /* the sender is to say where it goes on */
		COPY_CONTENT,
	} phase;
	/* Of the file at hand, bytes. */
	uint64_t size, have;
	uint64_t at; /* end of the last ones */
};

/* 0 or -ENOMEM; copy_check_done() frees either way. */
int copy_check_begin(struct copy_check *check, const struct copy_asked *asked);
void copy_check_done(struct copy_check *check);

/* The sender's next record, a CopyData before its bytes. 0; -EBADMSG: the end of the copy. */
int copy_check_record(struct copy_check *check, const Postern__V1__CopyRecord *record);

/* The receiver's answer. 0; -EBADMSG: nobody asked, or no receiver says such a thing. */
int copy_check_have(struct copy_check *check, const Postern__V1__CopyHave *have);
