/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON to messages. The message is built in an arena by its descriptor, then packed. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/client/base64.h"
#include "proto/client/uuid.h"
#include "proto/client/json.h"
#include "proto/encode.h"
#include "proto/limits.h"

struct builder {
	struct arena arena;
	char *problem;
	size_t size;
};

static int refuse(struct builder *builder, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(struct builder *builder, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(builder->problem, builder->size, format, args);
	va_end(args);
	return -EINVAL;
}

static int build(struct builder *builder, const ProtobufCMessageDescriptor *type,
	const json_t *json, ProtobufCMessage **ret);

/* The text of a string that holds no NUL; else NULL. */
static const char *text_of(const json_t *json)
{
	const char *text = json_string_value(json);

	return text && strlen(text) == json_string_length(json) ? text : NULL;
}

/* A whole number in decimal digits, with a minus sign or without. */
static bool parse_number(const char *text, int64_t least, uint64_t most, uint64_t *ret)
{
	bool negative = text[0] == '-';
	uint64_t magnitude;
	char *end;

	text += negative;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	magnitude = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	/* -(least + 1) + 1 is the magnitude of the least without its overflow. */
	if (negative && (least == 0 ? magnitude > 0 : magnitude > (uint64_t) - (least + 1) + 1))
		return false;
	*ret = negative ? -magnitude : magnitude;
	return negative || magnitude <= most;
}

/* A whole number within the bounds, or its text. */
static int take_number(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, int64_t least, uint64_t most, uint64_t *ret)
{
	json_int_t number = json_integer_value(json);
	const char *text = text_of(json);

	if (json_is_integer(json) && number >= least && (number < 0 || (uint64_t)number <= most)) {
		*ret = (uint64_t)number;
		return 0;
	}
	if (text && parse_number(text, least, most, ret))
		return 0;
	return refuse(builder, "%s: expected a whole number from %" PRId64 " to %" PRIu64,
		field->name, least, most);
}

static int take_enum(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, int *ret)
{
	const ProtobufCEnumDescriptor *values = field->descriptor;
	const ProtobufCEnumValue *value;
	const char *text = text_of(json);
	char names[256] = "";
	size_t n = 0;

	if (text) {
		value = protobuf_c_enum_descriptor_get_value_by_name(values, text);
		if (value) {
			*ret = value->value;
			return 0;
		}
	}
	for (unsigned int i = 1; i < values->n_values && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", i > 1 ? ", " : "",
			values->values[i].name);
	return refuse(builder, "%s: expected one of %s", field->name, names);
}

static int take_bytes(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, ProtobufCBinaryData *ret)
{
	const char *base64 = text_of(json_object_get(json, "base64"));
	bool uuid = uuid_is_form_of(field);
	uint8_t *decoded;
	int r;

	if (json_is_string(json) && uuid) {
		ret->len = UUID_SIZE;
		ret->data = arena_alloc(&builder->arena, UUID_SIZE);
		if (!ret->data)
			return -ENOMEM;
		if (text_of(json) && uuid_parse(text_of(json), ret->data) == 0)
			return 0;
	} else if (json_is_string(json)) {
		ret->len = json_string_length(json);
		ret->data = arena_copy(&builder->arena, json_string_value(json), ret->len);
		return ret->data ? 0 : -ENOMEM;
	}
	r = base64 ? base64_decode(base64, &decoded, &ret->len) : -EINVAL;
	if (r == -EINVAL)
		return refuse(builder, "%s: expected %s, or {\"base64\": \"...\"}", field->name,
			uuid ? "a UUID" : "a string");
	if (r < 0)
		return r;
	ret->data = arena_copy(&builder->arena, decoded, ret->len);
	free(decoded);
	return ret->data ? 0 : -ENOMEM;
}

static int take_string(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, char **ret)
{
	const char *text = text_of(json);

	if (!text)
		return refuse(builder, "%s: expected a string", field->name);
	*ret = arena_strdup(&builder->arena, text);
	return *ret ? 0 : -ENOMEM;
}

static int take_value(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, void *at)
{
	uint64_t number = 0;
	int r = 0;

	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		r = take_number(builder, field, json, INT32_MIN, INT32_MAX, &number);
		*(int32_t *)at = (int32_t)number;
		return r;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		r = take_number(builder, field, json, 0, UINT32_MAX, &number);
		*(uint32_t *)at = (uint32_t)number;
		return r;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		r = take_number(builder, field, json, INT64_MIN, INT64_MAX, &number);
		*(int64_t *)at = (int64_t)number;
		return r;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return take_number(builder, field, json, 0, UINT64_MAX, at);
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		if (!json_is_number(json))
			return refuse(builder, "%s: expected a number", field->name);
		if (field->type == PROTOBUF_C_TYPE_FLOAT)
			*(float *)at = (float)json_number_value(json);
		else
			*(double *)at = json_number_value(json);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(json))
			return refuse(builder, "%s: expected true or false", field->name);
		*(protobuf_c_boolean *)at = json_is_true(json);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		return take_enum(builder, field, json, at);
	case PROTOBUF_C_TYPE_STRING:
		return take_string(builder, field, json, at);
	case PROTOBUF_C_TYPE_BYTES:
		return take_bytes(builder, field, json, at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return build(builder, field->descriptor, json, at);
	}
	return -EINVAL;
}

/* More than any element's size, so that one stride serves all. */
static size_t stride_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return 4;
	default:
		return 8;
	}
}

static int take_repeated(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, ProtobufCMessage *message)
{
	size_t n = json_array_size(json), stride = stride_of(field->type);
	char *elements;
	int r = 0;

	if (!json_is_array(json))
		return refuse(builder, "%s: expected an array", field->name);
	elements = arena_alloc(&builder->arena, n * stride + 1);
	if (!elements)
		return -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = take_value(builder, field, json_array_get(json, i), elements + i * stride);
	*(void **)((char *)message + field->offset) = elements;
	*(size_t *)((char *)message + field->quantifier_offset) = n;
	return r;
}

static int take_field(struct builder *builder, const ProtobufCFieldDescriptor *field,
	const json_t *json, ProtobufCMessage *message)
{
	void *quantifier = (char *)message + field->quantifier_offset;
	int r;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return take_repeated(builder, field, json, message);
	r = take_value(builder, field, json, (char *)message + field->offset);
	if (r < 0)
		return r;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		*(uint32_t *)quantifier = field->id;
	else if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
		*(protobuf_c_boolean *)quantifier = true;
	return 0;
}

static int build(struct builder *builder, const ProtobufCMessageDescriptor *type,
	const json_t *json, ProtobufCMessage **ret)
{
	const char *key;
	json_t *value;
	int r = 0;

	if (!json_is_object(json))
		return refuse(builder, "%s: expected an object", type->short_name);
	*ret = arena_alloc(&builder->arena, type->sizeof_message);
	if (!*ret)
		return -ENOMEM;
	protobuf_c_message_init(type, *ret);
	json_object_foreach((json_t *)json, key, value)
	{
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field_by_name(type, key);

		if (!field)
			return refuse(
				builder, "%.64s: %s has no such field", key, type->short_name);
		r = take_field(builder, field, value, *ret);
		if (r < 0)
			break;
	}
	return r;
}

int json_to_message(const ProtobufCMessageDescriptor *type, const json_t *json, uint8_t **ret_bytes,
	size_t *ret_len, char *problem, size_t size)
{
	struct builder builder = {.problem = problem, .size = size};
	ProtobufCMessage *message = NULL;
	int r;

	arena_init(&builder.arena, ARENA_HOST_MAX);
	r = build(&builder, type, json, &message);
	if (r == 0) {
		*ret_bytes = encode_new(message, ret_len);
		r = *ret_bytes ? 0 : -ENOMEM;
	}
	arena_done(&builder.arena);
	return r;
}
