/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decode.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "wire.h"

#define FIRST_ELEMENTS 4

ProtobufCMessage *decode_new(struct arena *arena, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message = arena_take(arena, type->sizeof_message);

	/* It copies a whole message, or clears it first. */
	if (message)
		protobuf_c_message_init(type, message);
	return message;
}

static int64_t unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1 ^ (value & 1 ? UINT64_MAX : 0));
}

/* The value at `member`, in the form that the field's type has there. */
static int put(struct arena *arena, ProtobufCType type, void *member, const struct decoded *value)
{
	ProtobufCBinaryData *binary = member;
	void *copy;

	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
		*(uint32_t *)member = (uint32_t)value->number;
		return 0;
	case PROTOBUF_C_TYPE_SINT32:
		*(int32_t *)member = (int32_t)unzigzag((uint32_t)value->number);
		return 0;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)member = value->number;
		return 0;
	case PROTOBUF_C_TYPE_SINT64:
		*(int64_t *)member = unzigzag(value->number);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)member = value->number != 0;
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)member = value->message;
		return 0;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
		copy = arena_copy(arena, value->bytes, value->len);
		if (!copy)
			return -ENOMEM;
		if (type == PROTOBUF_C_TYPE_STRING)
			*(char **)member = copy;
		else
			*binary = (ProtobufCBinaryData){value->len, copy};
		return 0;
	default:
		memcpy(member, value->bytes, wire_member_size(type));
		return 0;
	}
}

/* The place of element number `before`. Room doubles when it is used up. */
static void *element(
	struct arena *arena, char *message, const ProtobufCFieldDescriptor *field, uint32_t before)
{
	size_t size = wire_member_size(field->type);
	char **values = (char **)(void *)(message + field->offset);
	bool is_full = before == 0 || (before >= FIRST_ELEMENTS && (before & (before - 1)) == 0);

	if (is_full) {
		char *more =
			arena_alloc(arena, size * (before ? 2 * (size_t)before : FIRST_ELEMENTS));

		if (!more)
			return NULL;
		if (before > 0)
			memcpy(more, *values, size * before);
		*values = more;
	}
	return *values + size * before;
}

int decode_store(struct arena *arena, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *field, uint32_t before, const struct decoded *value)
{
	char *base = (char *)message;
	void *quantifier = base + field->quantifier_offset;
	void *member = base + field->offset;
	int r;

	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		member = element(arena, base, field, before);
		if (!member)
			return -ENOMEM;
		*(size_t *)quantifier = before + 1;
	}
	r = put(arena, field->type, member, value);
	if (r < 0 || field->label == PROTOBUF_C_LABEL_REPEATED)
		return r;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		*(uint32_t *)quantifier = field->id;
	else if (field->quantifier_offset != 0)
		*(protobuf_c_boolean *)quantifier = true;
	return 0;
}
