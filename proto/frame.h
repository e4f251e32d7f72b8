/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames on a stream: an unsigned varint length of 1 to 5 bytes (never 0), then one message. The
 * length meets the limit before anything is allocated for it, and the buffer grows only with bytes
 * that have arrived.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buffer.h"

struct frame_reader {
	struct buffer in;
	size_t limit;        /* highest length accepted, bytes */
	uint64_t arrived_ns; /* CLOCK_MONOTONIC of the last bytes read */
	uint64_t started_ns; /* when the next frame was found incomplete; 0: it was not */
};

/* Reads what fd has, once. Returns the number of bytes, 0 at end of file, -EAGAIN, -ENOMEM or
 * another -errno of read(). Never blocks on a non-blocking descriptor. */
ssize_t frame_read(struct frame_reader *reader, int fd);

/*
 * Takes the next complete frame. Returns 1 and sets *ret_body (borrowed until the next call with
 * this reader) and *ret_len; 0 when more bytes are needed; -EMSGSIZE for a length over the limit;
 * -EBADMSG for a length that is 0 or not a varint of at most 5 bytes and 32 bits in its shortest
 * form. After an error the stream cannot be used any more.
 */
int frame_next(struct frame_reader *reader, const uint8_t **ret_body, size_t *ret_len);

/* Frees the buffer. */
void frame_reader_done(struct frame_reader *reader);

/* Writes the varint of len into header (at least FRAME_HEADER_MAX bytes). Returns its size. */
size_t frame_header(uint8_t *header, uint32_t len);

/* Packs the message as one frame at the end of out. 0, -EMSGSIZE when it is longer than limit, or
 * -ENOMEM; nothing is appended then. */
int frame_append(struct buffer *out, const ProtobufCMessage *message, size_t limit);
