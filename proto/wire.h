/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts of the protobuf encoding and of libprotobuf-c's structures, for all who walk both. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fixed values travel in this order");
_Static_assert(sizeof(protobuf_c_boolean) == 4, "as wide as an int32");

/* Wire types. 3 and 4 (groups), 6 and 7 are refused. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* What a type's values are on the wire, and the bytes that one takes in a C structure. Each value
 * that is read or written is looked up here. */
static const struct wire_form {
	uint8_t wire;
	uint8_t member_size;
} wire_forms[] = {
	[PROTOBUF_C_TYPE_INT32] = {WIRE_VARINT, 4},
	[PROTOBUF_C_TYPE_SINT32] = {WIRE_VARINT, 4},
	[PROTOBUF_C_TYPE_SFIXED32] = {WIRE_32, 4},
	[PROTOBUF_C_TYPE_INT64] = {WIRE_VARINT, 8},
	[PROTOBUF_C_TYPE_SINT64] = {WIRE_VARINT, 8},
	[PROTOBUF_C_TYPE_SFIXED64] = {WIRE_64, 8},
	[PROTOBUF_C_TYPE_UINT32] = {WIRE_VARINT, 4},
	[PROTOBUF_C_TYPE_FIXED32] = {WIRE_32, 4},
	[PROTOBUF_C_TYPE_UINT64] = {WIRE_VARINT, 8},
	[PROTOBUF_C_TYPE_FIXED64] = {WIRE_64, 8},
	[PROTOBUF_C_TYPE_FLOAT] = {WIRE_32, 4},
	[PROTOBUF_C_TYPE_DOUBLE] = {WIRE_64, 8},
	[PROTOBUF_C_TYPE_BOOL] = {WIRE_VARINT, 4},
	[PROTOBUF_C_TYPE_ENUM] = {WIRE_VARINT, 4},
	[PROTOBUF_C_TYPE_STRING] = {WIRE_BYTES, sizeof(void *)},
	[PROTOBUF_C_TYPE_BYTES] = {WIRE_BYTES, sizeof(ProtobufCBinaryData)},
	[PROTOBUF_C_TYPE_MESSAGE] = {WIRE_BYTES, sizeof(void *)},
};

static inline unsigned int wire_of(ProtobufCType type)
{
	return wire_forms[type].wire;
}

static inline size_t wire_member_size(ProtobufCType type)
{
	return wire_forms[type].member_size;
}

/* Whether a field that is not repeated has a value: by its oneof's case, its pointer, or its has_.
 */
static inline bool wire_is_present(
	const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
	const void *quantifier = (const char *)message + field->quantifier_offset;
	const void *value = (const char *)message + field->offset;
	bool oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;

	if (oneof && *(const uint32_t *)quantifier != field->id)
		return false;
	if (field->label == PROTOBUF_C_LABEL_REQUIRED)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)value &&
		       *(const void *const *)value != field->default_value;
	return oneof || *(const protobuf_c_boolean *)quantifier;
}
