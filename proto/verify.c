/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "verify.h"

#include <errno.h>
#include <string.h>

#include "arena.h"
#include "limits.h"
#include "utf8.h"

/* Wire types of the protobuf encoding. 3 and 4 (groups), 6 and 7 are refused. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

const struct verify_limits verify_agent_limits = {
	.elements = VERIFY_ELEMENTS, .elements_total = VERIFY_ELEMENTS_TOTAL};
const struct verify_limits verify_host_limits = {.elements = VERIFY_HOST_ELEMENTS,
	.elements_total = 4 * VERIFY_HOST_ELEMENTS,
	.unknown_enums = true};

struct verifier {
	const struct verify_limits *limits;
	uint32_t elements; /* of all repeated fields so far */
	uint32_t unknown;  /* unknown fields so far */
	const char *why;
};

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

static int refuse(struct verifier *verifier, const char *why)
{
	verifier->why = why;
	return -EBADMSG;
}

/* Takes a varint of at most `most` bytes. 0, or -1 when it is truncated or too long. */
static int take_varint(struct cursor *cursor, int most, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (int i = 0; i < most && cursor->at < cursor->end; i++) {
		uint8_t byte = *cursor->at++;

		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret_value = value;
			return 0;
		}
	}
	return -1;
}

/* Takes one value of this wire type; for WIRE_BYTES *ret is its content. 0 or -1. */
static int take_value(
	struct cursor *cursor, unsigned int wire, uint64_t *ret_number, struct cursor *ret_bytes)
{
	size_t left, n;

	*ret_number = 0;
	*ret_bytes = (struct cursor){0};
	if (wire == WIRE_VARINT)
		return take_varint(cursor, 10, ret_number);
	/* libprotobuf-c reads no more than five bytes of a length. */
	if (wire == WIRE_BYTES && take_varint(cursor, 5, ret_number) < 0)
		return -1;
	left = (size_t)(cursor->end - cursor->at);
	if (wire == WIRE_BYTES) {
		if (*ret_number > left)
			return -1;
		n = (size_t)*ret_number;
	} else {
		n = wire == WIRE_64 ? 8 : 4;
		if (n > left)
			return -1;
	}
	*ret_bytes = (struct cursor){cursor->at, cursor->at + n};
	cursor->at += n;
	return 0;
}

static unsigned int wire_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_32;
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_64;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return WIRE_BYTES;
	default:
		return WIRE_VARINT;
	}
}

static int check_enum(
	struct verifier *verifier, const ProtobufCFieldDescriptor *field, uint64_t value)
{
	const ProtobufCEnumDescriptor *values = field->descriptor;

	if (verifier->limits->unknown_enums)
		return 0;
	/* An enum travels as an int32, negative values sign-extended. */
	if (value > INT32_MAX || !protobuf_c_enum_descriptor_get_value(values, (int)value))
		return refuse(verifier, "unknown value of an enumeration");
	return 0;
}

static int check_string(struct verifier *verifier, struct cursor text)
{
	uint32_t c;

	while (text.at < text.end) {
		size_t n = utf8_next(text.at, (size_t)(text.end - text.at), &c);

		if (n == 0)
			return refuse(verifier, "a string is not UTF-8");
		if (c == 0)
			return refuse(verifier, "a string holds a NUL byte");
		text.at += n;
	}
	return 0;
}

/* Counts and checks the elements of a packed repeated field. */
static int check_packed(struct verifier *verifier, const ProtobufCFieldDescriptor *field,
	struct cursor packed, uint32_t *ret_elements)
{
	unsigned int wire = wire_of(field->type);
	struct cursor ignored;
	uint64_t value;

	for (*ret_elements = 0; packed.at < packed.end; ++*ret_elements) {
		if (take_value(&packed, wire, &value, &ignored) < 0)
			return refuse(verifier, "a packed field is truncated");
		if (field->type == PROTOBUF_C_TYPE_ENUM && check_enum(verifier, field, value) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int check_message(struct verifier *verifier, const ProtobufCMessageDescriptor *type,
	struct cursor body, int depth);

/* Checks one value of a known field; *ret_elements is what it counts for. */
static int check_value(struct verifier *verifier, const ProtobufCFieldDescriptor *field,
	unsigned int wire, uint64_t number, struct cursor bytes, int depth, uint32_t *ret_elements)
{
	*ret_elements = 1;
	if (wire != wire_of(field->type)) {
		/* The one other form: many numbers in one run of bytes. */
		if (wire != WIRE_BYTES || field->label != PROTOBUF_C_LABEL_REPEATED)
			return refuse(verifier, "wrong wire type of a field");
		return check_packed(verifier, field, bytes, ret_elements);
	}
	switch (field->type) {
	case PROTOBUF_C_TYPE_ENUM:
		return check_enum(verifier, field, number);
	case PROTOBUF_C_TYPE_STRING:
		return check_string(verifier, bytes);
	case PROTOBUF_C_TYPE_MESSAGE:
		return check_message(verifier, field->descriptor, bytes, depth + 1);
	default:
		return 0;
	}
}

/* Adds to the counts of this field in this message, and of the whole body. */
static int count(struct verifier *verifier, const ProtobufCFieldDescriptor *field,
	uint32_t elements, uint32_t *field_count)
{
	bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
	uint32_t most = repeated ? verifier->limits->elements : VERIFY_SINGULAR_REPEATS;

	/* Nobody sends it, and libprotobuf-c 1.4.1 cannot make one of all that come so. */
	if (!repeated && field->type == PROTOBUF_C_TYPE_MESSAGE && *field_count > 0)
		return refuse(verifier, "a message comes twice in a field");
	/* Neither sum can wrap: elements is at most the body's length, the counts stop at most. */
	if (elements > most - *field_count)
		return refuse(verifier, "too many elements in a field");
	*field_count += elements;
	if (elements > verifier->limits->elements_total - verifier->elements)
		return refuse(verifier, "too many elements in a message");
	verifier->elements += elements;
	return 0;
}

static int check_message(struct verifier *verifier, const ProtobufCMessageDescriptor *type,
	struct cursor body, int depth)
{
	uint32_t counts[VERIFY_FIELDS] = {0};

	if (depth > VERIFY_DEPTH)
		return refuse(verifier, "nested too deep");
	if (type->n_fields > VERIFY_FIELDS)
		return refuse(verifier, "a message type of more fields than can be checked");
	while (body.at < body.end) {
		const ProtobufCFieldDescriptor *field;
		struct cursor bytes;
		uint64_t tag, number;
		unsigned int wire;
		uint32_t elements;

		if (take_varint(&body, 5, &tag) < 0 || tag > UINT32_MAX || tag >> 3 == 0)
			return refuse(verifier, "bad tag");
		wire = tag & 7;
		if (wire != WIRE_VARINT && wire != WIRE_64 && wire != WIRE_BYTES && wire != WIRE_32)
			return refuse(verifier, "bad wire type");
		if (take_value(&body, wire, &number, &bytes) < 0)
			return refuse(verifier, "truncated");
		field = protobuf_c_message_descriptor_get_field(type, (unsigned int)(tag >> 3));
		if (!field) {
			if (++verifier->unknown > VERIFY_UNKNOWN)
				return refuse(verifier, "too many unknown fields");
			continue;
		}
		if (check_value(verifier, field, wire, number, bytes, depth, &elements) < 0 ||
			count(verifier, field, elements, &counts[field - type->fields]) < 0)
			return -EBADMSG;
	}
	return 0;
}

int verify_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	const struct verify_limits *limits, const char **ret_why)
{
	struct verifier verifier = {.limits = limits};
	int r = check_message(&verifier, type, (struct cursor){bytes, bytes + len}, 1);

	if (r < 0)
		*ret_why = verifier.why;
	return r;
}

ProtobufCMessage *verify_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
	size_t len, const struct verify_limits *limits, struct arena *arena, const char **ret_why)
{
	ProtobufCMessage *message;

	if (verify_message(type, bytes, len, limits, ret_why) < 0)
		return NULL;
	message = protobuf_c_message_unpack(type, &arena->allocator, len, bytes);
	if (!message)
		*ret_why = "more memory than a message may need";
	return message;
}
