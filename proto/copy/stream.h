/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The records of a copy on a socket (non-blocking), in both directions. Each call waits as long as
 * it takes, but not for ever for another side that does nothing: -ETIMEDOUT. While it waits to
 * write it reads, so that two sides that talk at once never wait for each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "copy.pb-c.h"
#include "proto/record.h"

#define COPY_DATA_MAX   (1u << 20)  /* bytes behind one CopyData */
#define COPY_RECORD_MAX (64u << 10) /* bytes of a record without these */
#define COPY_PIECE      (64u << 10) /* that is read and written at once */

/* In which the other side neither sends nor takes a byte. So long since it may be at work: a large
 * part of a file from before is read and compared, a large file goes to a slow disk, a guest is
 * paused.
 */
#define COPY_IDLE_MS (30 * 60 * 1000)

struct copy_stream {
	int fd; /* borrowed */
	int idle_ms;
	struct record_reader in;
	struct buffer out;
};

void copy_stream_init(struct copy_stream *stream, int fd);

/* Frees; the descriptor stays open. */
void copy_stream_done(struct copy_stream *stream);

/* Adds a record to what is sent, soon. 0 or -errno; -EPIPE: the other side is gone. */
int copy_put(struct copy_stream *stream, Postern__V1__CopyRecord__KindCase kind, void *message);

/* A CopyData with its bytes, sent at once. 0 or -errno. */
int copy_put_data(struct copy_stream *stream, uint64_t offset, const void *bytes, size_t len);

/* Sends what was added. 0 or -errno. */
int copy_flush(struct copy_stream *stream);

/* The next record, checked; borrowed until the next call. 1; 0 at the end of the stream; -EBADMSG
 * for what is none, or -errno. */
int copy_get(struct copy_stream *stream, const Postern__V1__CopyRecord **ret_record);

/* The same if one is here already; 0: there is none. */
int copy_get_now(struct copy_stream *stream, const Postern__V1__CopyRecord **ret_record);

/* Bytes behind a CopyData: at least 1, at most room. How many; -ECONNRESET at the end of the
 * stream, or -errno. */
ssize_t copy_get_data(struct copy_stream *stream, void *bytes, size_t room);

/* Those that are here already, or -EAGAIN. */
ssize_t copy_get_data_now(struct copy_stream *stream, void *bytes, size_t room);

/* A name as one part of a path: no slash, no NUL, not "." or "..", 1 to 255 bytes. */
bool copy_name_is_good(const ProtobufCBinaryData *name);
