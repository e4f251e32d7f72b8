/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of vsh and vshd, whose messages vsh.proto has: a length of 32 bits, little-endian, and so
 * many bytes, at most VSH_FRAME_MAX. None needs memory that its length asks for.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buffer.h"
#include "verify.h"

#define VSH_PORT      9001 /* where the guest listens */
#define VSH_HEADER    4
#define VSH_FRAME_MAX 4096
#define VSH_DATA_MAX  4000 /* bytes of a stream in one message */

/* For verify_unpack(): of a frame's length there cannot be many of anything. */
extern const struct verify_limits vsh_limits;

/* Whether these can be a terminal's size; others are passed over. */
static inline bool vsh_is_size(int32_t rows, int32_t columns)
{
	return rows >= 1 && rows <= UINT16_MAX && columns >= 1 && columns <= UINT16_MAX;
}

/* Bytes that came. All zero: none. */
struct vsh_reader {
	size_t at, end;
	uint8_t bytes[4 * (VSH_HEADER + VSH_FRAME_MAX)];
};

/* Reads what the socket has, once; there is always room after vsh_next() returned 0. Returns the
 * number of bytes, 0 at the end of the stream, -EAGAIN or another -errno. Never blocks on a
 * non-blocking socket. */
ssize_t vsh_read(struct vsh_reader *reader, int socket);

/* Takes the next frame. 1 with *ret_body (borrowed until the next vsh_read()) and *ret_len, which
 * may be 0: a message without any field; 0 when more bytes are needed; -EMSGSIZE for a length over
 * the limit, after which the stream cannot be used any more. */
int vsh_next(struct vsh_reader *reader, const uint8_t **ret_body, size_t *ret_len);

/* Packs the message as one frame at the end of out. 0, -EMSGSIZE or -ENOMEM; nothing is appended
 * then. */
int vsh_append(struct buffer *out, const ProtobufCMessage *message);
