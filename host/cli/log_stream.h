/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of logs.read on its channel. They are the guest's: checked, and bounded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "logs.pb-c.h"
#include "proto/record.h"

struct log_stream {
	int fd; /* owned; non-blocking; -EBADF: none */
	struct record_reader in;
};

struct log_record {
	const Postern__V1__LogRecord *record; /* of a kind that is known */
	const uint8_t *body;                  /* what it was made of */
	size_t len;
};

/* fd is taken over. */
void log_stream_init(struct log_stream *stream, int fd);

/* Closes and frees. */
void log_stream_done(struct log_stream *stream);

/* The next record that is here, borrowed until the next call. 1; 0 when there is none yet;
 * -ECONNRESET at the end of the stream; -EBADMSG for what is no record; or -errno. Does not block.
 */
int log_stream_next(struct log_stream *stream, struct log_record *ret);
