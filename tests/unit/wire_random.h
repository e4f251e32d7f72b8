/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Valid messages of any type, filled with random values by its descriptor. */
#pragma once

#include "tests/unit/wire_build.h"

#include <protobuf-c/protobuf-c.h>

struct wire_random {
	struct dice *dice;
	int depth;         /* levels below which nothing is nested any more */
	unsigned int most; /* elements of a repeated field */
	bool (*leave_out)(const ProtobufCFieldDescriptor *field);
	size_t (*bytes_len)(struct dice *dice, const ProtobufCFieldDescriptor *field);
};

/* Characters of one to four bytes, no NUL. */
static inline size_t random_text(struct dice *dice, char *text, size_t characters)
{
	static const char *const some[] = {"a", "Z", " ", "\\", "\"", "/", "\x01", "\x7f",
		"\xc3\xa4", "\xe2\x82\xac", "\xe2\x80\xae", "\xf0\x9f\x9a\xaa", "\xef\xbf\xbf"};
	size_t n = 0;

	for (size_t i = 0; i < characters; i++) {
		const char *c = some[dice_below(dice, sizeof(some) / sizeof(some[0]))];

		memcpy(text + n, c, strlen(c));
		n += strlen(c);
	}
	return n;
}

/* Small ones, huge ones, and those at the borders. */
static inline uint64_t random_number(struct dice *dice)
{
	static const uint64_t borders[] = {0, 1, 127, 128, INT32_MAX, (uint64_t)INT32_MAX + 1,
		UINT32_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};

	switch (dice_below(dice, 3)) {
	case 0:
		return borders[dice_below(dice, sizeof(borders) / sizeof(borders[0]))];
	case 1:
		return dice_below(dice, 1000);
	default:
		return dice_roll(dice) >> dice_below(dice, 64);
	}
}

static inline void random_message(struct wire_random *how, struct buffer *out,
	const ProtobufCMessageDescriptor *type, int depth);

/* What stands behind the tag of a scalar. */
static inline void random_scalar(
	struct wire_random *how, struct buffer *out, const ProtobufCFieldDescriptor *field)
{
	const ProtobufCEnumDescriptor *values = field->descriptor;
	uint64_t number = random_number(how->dice);
	double real = (double)(int64_t)dice_roll(how->dice) / 65536;
	float small = (float)real;

	switch (field->type) {
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
		put_raw(out, &number, 4);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		put_raw(out, &small, 4);
		break;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
		put_raw(out, &number, 8);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		put_raw(out, &real, 8);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		put_varint(out, number & 1);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		put_varint(out,
			(uint64_t)values->values[dice_below(how->dice, values->n_values)].value);
		break;
	case PROTOBUF_C_TYPE_INT32:
		put_varint(out, (uint64_t)(int64_t)(int32_t)number);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_SINT32:
		put_varint(out, (uint32_t)number);
		break;
	default:
		put_varint(out, number);
		break;
	}
}

static inline void random_value(struct wire_random *how, struct buffer *out,
	const ProtobufCFieldDescriptor *field, int depth)
{
	struct buffer inner = {0};
	char text[256];
	size_t n;

	switch (field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		random_message(how, &inner, field->descriptor, depth + 1);
		put_message(out, field->id, &inner);
		return;
	case PROTOBUF_C_TYPE_STRING:
		put_bytes(out, field->id, text,
			random_text(how->dice, text, dice_below(how->dice, 20)));
		return;
	case PROTOBUF_C_TYPE_BYTES:
		n = how->bytes_len ? how->bytes_len(how->dice, field) : dice_below(how->dice, 40);
		for (size_t i = 0; i < n; i++)
			text[i] = (char)dice_roll(how->dice);
		if (n > 0 && dice_below(how->dice, 2))
			memset(text, 'x', n);
		put_bytes(out, field->id, text, n);
		return;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		put_tag(out, field->id, WIRE32);
		break;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		put_tag(out, field->id, WIRE64);
		break;
	default:
		put_tag(out, field->id, VARINT);
		break;
	}
	random_scalar(how, out, field);
}

/* A message with about two thirds of its fields, at most one of each oneof. */
static inline void random_message(struct wire_random *how, struct buffer *out,
	const ProtobufCMessageDescriptor *type, int depth)
{
	unsigned int oneof = 0;

	for (unsigned int i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		bool packed = field->flags & PROTOBUF_C_FIELD_FLAG_PACKED;
		unsigned int n = 1;

		if (dice_below(how->dice, 3) == 0 || (how->leave_out && how->leave_out(field)) ||
			(field->type == PROTOBUF_C_TYPE_MESSAGE && depth >= how->depth))
			continue;
		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
			if (oneof == field->quantifier_offset)
				continue;
			oneof = field->quantifier_offset;
		}
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			n = 1 + (unsigned int)dice_below(how->dice, how->most);
		if (packed) {
			struct buffer run = {0};

			for (; n > 0; n--)
				random_scalar(how, &run, field);
			put_message(out, field->id, &run);
			continue;
		}
		for (; n > 0; n--)
			random_value(how, out, field, depth);
	}
}
