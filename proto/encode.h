/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages to bytes, in one pass from the end to the front: the length of an inner message is known
 * when its tag is written, so that nothing is measured before it is packed, as libprotobuf-c does
 * once for each level above a message. The bytes are that library's, field for field.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#define ENCODE_SLACK   32       /* bytes of room that must be left over */
#define ENCODE_NO_ROOM SIZE_MAX /* in place of a length */

/*
 * Writes the message's bytes so that the last one stands before `end`, and none before `start`.
 * Returns their number, or ENCODE_NO_ROOM when there is not room for them and ENCODE_SLACK more.
 * Does not allocate. Unknown fields are not kept.
 */
size_t encode_before(uint8_t *start, uint8_t *end, const ProtobufCMessage *message);

/* The message's bytes in memory that the caller frees, or NULL without it (and length 0). */
uint8_t *encode_new(const ProtobufCMessage *message, size_t *ret_len);

/* The message's bytes in the arena, or NULL over its cap or without memory. Those of
 * a large message (1 KiB) take up to four times their number of it. */
uint8_t *encode_in_arena(struct arena *arena, const ProtobufCMessage *message, size_t *ret_len);

/*
 * A message as the content of a `bytes` field: encode_before() packs it in place. Good for that
 * alone, and as long as the message.
 */
ProtobufCBinaryData encode_as_bytes(const ProtobufCMessage *message);

/*
 * The other way round: bytes that stand for the message that they are the encoding of. A pointer to
 * `base` may be put where a message has a pointer to one of its kind; encode_before() copies the
 * bytes. Good for that alone.
 */
struct encoded_message {
	ProtobufCMessage base;
	const uint8_t *bytes; /* borrowed */
	size_t len;
};

void encoded_message_init(struct encoded_message *message, const uint8_t *bytes, size_t len);
