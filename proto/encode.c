/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each put_*() gets the last byte that was written, and returns the new one; NULL: there is no
 * room. */
#include "encode.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define SMALL_ROOM   1024     /* most messages are smaller */
#define AS_BYTES_LEN SIZE_MAX /* no bytes are so many */

/* The type of struct encoded_message. Only its address says something. */
static const ProtobufCMessageDescriptor encoded_message_type;

static uint8_t *put_message(uint8_t *start, uint8_t *at, const ProtobufCMessage *message);

/* Into the slack, of which each value takes no more than a varint, a length and a tag. */
static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	unsigned int bits, n;

	if (value < 0x80) {
		*--at = (uint8_t)value;
		return at;
	}
	bits = 64 - (unsigned int)__builtin_clzll(value);
	n = (bits + 6) / 7;
	at -= n;
	for (unsigned int i = 0; i < n - 1; i++, value >>= 7)
		at[i] = (uint8_t)(value | 0x80);
	at[n - 1] = (uint8_t)value;
	return at;
}

static uint8_t *put_tag(uint8_t *at, const ProtobufCFieldDescriptor *field, unsigned int wire)
{
	return put_varint(at, (uint64_t)field->id << 3 | wire);
}

static uint8_t *put_raw(uint8_t *start, uint8_t *at, const void *bytes, size_t n)
{
	if ((size_t)(at - start) < n + ENCODE_SLACK)
		return NULL;
	if (n > 0)
		memcpy(at - n, bytes, n);
	return at - n;
}

static uint8_t *put_fixed(uint8_t *at, const void *member, size_t n)
{
	memcpy(at - n, member, n);
	return at - n;
}

static uint64_t zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

/* What has a length: the content, then the length in front of it. */
static uint8_t *put_content(uint8_t *start, uint8_t *end, ProtobufCType type, const void *member)
{
	const ProtobufCBinaryData *binary = member;
	uint8_t *at;

	if (type == PROTOBUF_C_TYPE_MESSAGE) {
		at = put_message(start, end, *(const ProtobufCMessage *const *)member);
	} else if (type == PROTOBUF_C_TYPE_STRING) {
		const char *text = *(const char *const *)member;

		at = put_raw(start, end, text, text ? strlen(text) : 0);
	} else if (binary->len == AS_BYTES_LEN) {
		at = put_message(start, end, (const ProtobufCMessage *)(const void *)binary->data);
	} else {
		at = put_raw(start, end, binary->data, binary->len);
	}
	return at ? put_varint(at, (uint64_t)(end - at)) : NULL;
}

/* One value without its tag. member: where it stands in the C structure. */
static uint8_t *put_value(uint8_t *start, uint8_t *at, ProtobufCType type, const void *member)
{
	if ((size_t)(at - start) < ENCODE_SLACK)
		return NULL;
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_ENUM:
		return put_varint(at, (uint64_t)(int64_t) * (const int32_t *)member);
	case PROTOBUF_C_TYPE_SINT32:
		return put_varint(at, (uint32_t)zigzag(*(const int32_t *)member));
	case PROTOBUF_C_TYPE_UINT32:
		return put_varint(at, *(const uint32_t *)member);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		return put_varint(at, *(const uint64_t *)member);
	case PROTOBUF_C_TYPE_SINT64:
		return put_varint(at, zigzag(*(const int64_t *)member));
	case PROTOBUF_C_TYPE_BOOL:
		return put_varint(at, *(const protobuf_c_boolean *)member != 0);
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return put_fixed(at, member, 4);
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return put_fixed(at, member, 8);
	default:
		return put_content(start, at, type, member);
	}
}

static uint8_t *put_repeated(
	uint8_t *start, uint8_t *end, const ProtobufCFieldDescriptor *field, const char *message)
{
	size_t n = *(const size_t *)(const void *)(message + field->quantifier_offset);
	const char *values = *(const char *const *)(const void *)(message + field->offset);
	size_t size = wire_member_size(field->type);
	bool packed = field->flags & PROTOBUF_C_FIELD_FLAG_PACKED;
	uint8_t *at = end;

	if (n == 0)
		return at;
	while (n-- > 0) {
		at = put_value(start, at, field->type, values + n * size);
		if (!at)
			return NULL;
		if (!packed)
			at = put_tag(at, field, wire_of(field->type));
	}
	return packed ? put_tag(put_varint(at, (uint64_t)(end - at)), field, WIRE_BYTES) : at;
}

static uint8_t *put_message(uint8_t *start, uint8_t *at, const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	const char *base = (const char *)message;

	if (type == &encoded_message_type) {
		const struct encoded_message *encoded = (const void *)message;

		return put_raw(start, at, encoded->bytes, encoded->len);
	}
	for (unsigned int i = type->n_fields; i-- > 0 && at;) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			at = put_repeated(start, at, field, base);
		} else if (wire_is_present(field, message)) {
			at = put_value(start, at, field->type, base + field->offset);
			if (at)
				at = put_tag(at, field, wire_of(field->type));
		}
	}
	return at;
}

size_t encode_before(uint8_t *start, uint8_t *end, const ProtobufCMessage *message)
{
	uint8_t *at = put_message(start, end, message);

	return at ? (size_t)(end - at) : ENCODE_NO_ROOM;
}

uint8_t *encode_new(const ProtobufCMessage *message, size_t *ret_len)
{
	for (size_t room = SMALL_ROOM;; room *= 2) {
		uint8_t *bytes = malloc(room);

		*ret_len = 0;
		if (!bytes)
			return NULL;
		*ret_len = encode_before(bytes, bytes + room, message);
		if (*ret_len != ENCODE_NO_ROOM)
			return memmove(bytes, bytes + room - *ret_len, *ret_len);
		free(bytes);
	}
}

uint8_t *encode_in_arena(struct arena *arena, const ProtobufCMessage *message, size_t *ret_len)
{
	uint8_t small[SMALL_ROOM];
	size_t room = sizeof(small);

	*ret_len = encode_before(small, small + room, message);
	if (*ret_len != ENCODE_NO_ROOM)
		return arena_copy(arena, small + room - *ret_len, *ret_len);
	for (;;) {
		uint8_t *bytes = arena_alloc(arena, room *= 2);

		if (!bytes)
			return NULL;
		*ret_len = encode_before(bytes, bytes + room, message);
		if (*ret_len != ENCODE_NO_ROOM)
			return bytes + room - *ret_len;
	}
}

ProtobufCBinaryData encode_as_bytes(const ProtobufCMessage *message)
{
	return (ProtobufCBinaryData){.len = AS_BYTES_LEN, .data = (uint8_t *)message};
}

void encoded_message_init(struct encoded_message *message, const uint8_t *bytes, size_t len)
{
	*message = (struct encoded_message){
		.base.descriptor = &encoded_message_type, .bytes = bytes, .len = len};
}
