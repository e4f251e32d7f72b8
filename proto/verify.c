/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "verify.h"

#include <errno.h>
#include <string.h>

#include "decode.h"
#include "limits.h"
#include "utf8.h"
#include "wire.h"

#define EIGHT     sizeof(uint64_t)
#define NO_MEMORY "more memory than a message may need"

const struct verify_limits verify_agent_limits = {
	.elements = VERIFY_ELEMENTS, .elements_total = VERIFY_ELEMENTS_TOTAL};
const struct verify_limits verify_host_limits = {.elements = VERIFY_HOST_ELEMENTS,
	.elements_total = 4 * VERIFY_HOST_ELEMENTS,
	.unknown_enums = true};

struct verifier {
	const struct verify_limits *limits;
	struct arena *arena; /* NULL: nothing is built, only checked */
	uint32_t elements;   /* of all repeated fields so far */
	uint32_t unknown;    /* unknown fields so far */
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

	if (cursor->at < cursor->end && *cursor->at < 0x80) {
		*ret_value = *cursor->at++;
		return 0;
	}
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
	/* As libprotobuf-c reads a length. */
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

/* Eight characters at once, when all are ASCII and none is a NUL. */
static bool is_plain(const uint8_t *text)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, text, EIGHT);
	return ((word | (word - ones)) & (ones << 7)) == 0;
}

static int check_string(struct verifier *verifier, struct cursor text)
{
	const uint8_t *last = (size_t)(text.end - text.at) >= EIGHT ? text.end - EIGHT : NULL;
	uint32_t c;

	while (text.at < text.end) {
		size_t n;

		/* The last eight are looked at even where some of them were before. */
		if (last && is_plain(text.at < last ? text.at : last)) {
			text.at = text.at < last ? text.at + EIGHT : text.end;
			continue;
		}
		n = utf8_next(text.at, (size_t)(text.end - text.at), &c);
		if (n == 0)
			return refuse(verifier, "a string is not UTF-8");
		if (c == 0)
			return refuse(verifier, "a string holds a NUL byte");
		text.at += n;
	}
	return 0;
}

static int store(struct verifier *verifier, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *field, uint32_t before, const struct decoded *value)
{
	if (verifier->arena && decode_store(verifier->arena, message, field, before, value) < 0)
		return refuse(verifier, NO_MEMORY);
	return 0;
}

/* Adds an element to the counts of this field in this message, and of the whole body. */
static inline int count(
	struct verifier *verifier, const ProtobufCFieldDescriptor *field, uint32_t *field_count)
{
	bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;

	/* Nobody sends it, and two of them would have to become one. */
	if (!repeated && field->type == PROTOBUF_C_TYPE_MESSAGE && *field_count > 0)
		return refuse(verifier, "a message comes twice in a field");
	if (*field_count >= (repeated ? verifier->limits->elements : VERIFY_SINGULAR_REPEATS))
		return refuse(verifier, "too many elements in a field");
	if (verifier->elements >= verifier->limits->elements_total)
		return refuse(verifier, "too many elements in a message");
	++*field_count;
	verifier->elements++;
	return 0;
}

/* The other form of a repeated number: many of them in one run of bytes. */
static int take_packed(struct verifier *verifier, const ProtobufCFieldDescriptor *field,
	struct cursor packed, ProtobufCMessage *message, uint32_t *field_count)
{
	unsigned int wire = wire_of(field->type);

	while (packed.at < packed.end) {
		uint32_t before = *field_count;
		struct decoded value = {0};
		struct cursor bytes;

		if (take_value(&packed, wire, &value.number, &bytes) < 0)
			return refuse(verifier, "a packed field is truncated");
		value.bytes = bytes.at;
		if ((field->type == PROTOBUF_C_TYPE_ENUM &&
			    check_enum(verifier, field, value.number) < 0) ||
			count(verifier, field, field_count) < 0 ||
			store(verifier, message, field, before, &value) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int take_message(struct verifier *verifier, const ProtobufCMessageDescriptor *type,
	struct cursor body, int depth, ProtobufCMessage **ret);

/* One value of a known field. */
static int take_field(struct verifier *verifier, const ProtobufCFieldDescriptor *field,
	unsigned int wire, uint64_t number, struct cursor bytes, int depth,
	ProtobufCMessage *message, uint32_t *field_count)
{
	struct decoded value = {
		.number = number, .bytes = bytes.at, .len = (size_t)(bytes.end - bytes.at)};
	uint32_t before = *field_count;
	int r = 0;

	if (wire != wire_of(field->type)) {
		if (wire != WIRE_BYTES || field->label != PROTOBUF_C_LABEL_REPEATED)
			return refuse(verifier, "wrong wire type of a field");
		return take_packed(verifier, field, bytes, message, field_count);
	}
	if (count(verifier, field, field_count) < 0)
		return -EBADMSG;
	if (field->type == PROTOBUF_C_TYPE_ENUM)
		r = check_enum(verifier, field, number);
	else if (field->type == PROTOBUF_C_TYPE_STRING)
		r = check_string(verifier, bytes);
	else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		r = take_message(verifier, field->descriptor, bytes, depth + 1, &value.message);
	return r < 0 ? r : store(verifier, message, field, before, &value);
}

/* The field of this number, or NULL. They mostly come in the order of their numbers. */
static const ProtobufCFieldDescriptor *find_field(
	const ProtobufCMessageDescriptor *type, uint32_t number, unsigned int *next)
{
	const ProtobufCFieldDescriptor *field;

	if (*next < type->n_fields && type->fields[*next].id == number)
		return &type->fields[(*next)++];
	field = protobuf_c_message_descriptor_get_field(type, number);
	if (field)
		*next = (unsigned int)(field - type->fields) + 1;
	return field;
}

/* Checks a message, and builds it where there is an arena. */
static int take_message(struct verifier *verifier, const ProtobufCMessageDescriptor *type,
	struct cursor body, int depth, ProtobufCMessage **ret)
{
	uint32_t counts[VERIFY_FIELDS];
	ProtobufCMessage *message = NULL;
	unsigned int next = 0;

	if (depth > VERIFY_DEPTH)
		return refuse(verifier, "nested too deep");
	if (type->n_fields > VERIFY_FIELDS)
		return refuse(verifier, "a message type of more fields than can be checked");
	memset(counts, 0, type->n_fields * sizeof(counts[0]));
	if (verifier->arena && !(message = decode_new(verifier->arena, type)))
		return refuse(verifier, NO_MEMORY);
	while (body.at < body.end) {
		const ProtobufCFieldDescriptor *field;
		struct cursor bytes;
		uint64_t tag, number;
		unsigned int wire;

		if (take_varint(&body, 5, &tag) < 0 || tag > UINT32_MAX || tag >> 3 == 0)
			return refuse(verifier, "bad tag");
		wire = tag & 7;
		if (wire != WIRE_VARINT && wire != WIRE_64 && wire != WIRE_BYTES && wire != WIRE_32)
			return refuse(verifier, "bad wire type");
		if (take_value(&body, wire, &number, &bytes) < 0)
			return refuse(verifier, "truncated");
		field = find_field(type, (uint32_t)(tag >> 3), &next);
		if (!field) {
			if (++verifier->unknown > VERIFY_UNKNOWN)
				return refuse(verifier, "too many unknown fields");
			continue;
		}
		if (take_field(verifier, field, wire, number, bytes, depth, message,
			    &counts[field - type->fields]) < 0)
			return -EBADMSG;
	}
	*ret = message;
	return 0;
}

static int verify(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	const struct verify_limits *limits, struct arena *arena, ProtobufCMessage **ret,
	const char **ret_why)
{
	struct verifier verifier = {.limits = limits, .arena = arena};
	int r = take_message(&verifier, type, (struct cursor){bytes, bytes + len}, 1, ret);

	*ret_why = verifier.why;
	return r;
}

int verify_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	const struct verify_limits *limits, const char **ret_why)
{
	ProtobufCMessage *none;

	return verify(type, bytes, len, limits, NULL, &none, ret_why);
}

ProtobufCMessage *verify_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
	size_t len, const struct verify_limits *limits, struct arena *arena, const char **ret_why)
{
	ProtobufCMessage *message;

	return verify(type, bytes, len, limits, arena, &message, ret_why) < 0 ? NULL : message;
}
