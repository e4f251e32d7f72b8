/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a checked value goes: into the C structure that libprotobuf-c's generated code has for the
 * message. verify.c walks the bytes, and is the only caller.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

/* What stood behind a tag. Which member counts follows from the field's type. */
struct decoded {
	uint64_t number;      /* a varint */
	const uint8_t *bytes; /* fixed numbers, strings and bytes; borrowed */
	size_t len;
	ProtobufCMessage *message;
};

/* An empty message of this type in the arena; NULL over its cap or without memory. */
ProtobufCMessage *decode_new(struct arena *arena, const ProtobufCMessageDescriptor *type);

/*
 * Sets the field; of a repeated one, its element `before`, which so many others came before.
 * Strings and bytes are copied. A later value takes the place of an earlier one, also of another
 * member of its oneof. The value must fit the field: that is the caller's word. 0 or -ENOMEM.
 */
int decode_store(struct arena *arena, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *field, uint32_t before, const struct decoded *value);
