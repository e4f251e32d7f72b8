/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/client/base64.h"
#include "proto/client/uuid.h"
#include "proto/limits.h"
#include "proto/utf8.h"
#include "proto/verify.h"
#include "proto/wire.h"

static bool is_text(const uint8_t *bytes, size_t len)
{
	uint32_t c;

	while (len > 0) {
		size_t n = utf8_next(bytes, len, &c);

		if (n == 0 || c == 0)
			return false;
		bytes += n;
		len -= n;
	}
	return true;
}

static json_t *from_bytes(const ProtobufCFieldDescriptor *field, const ProtobufCBinaryData *bytes)
{
	char uuid[UUID_TEXT_SIZE], *text;
	json_t *json;

	if (uuid_is_form_of(field) && bytes->len == UUID_SIZE)
		return json_string(uuid_text(bytes->data, uuid));
	if (!uuid_is_form_of(field) && is_text(bytes->data, bytes->len))
		return json_stringn(bytes->len ? (const char *)bytes->data : "", bytes->len);
	text = base64_encode(bytes->data, bytes->len);
	json = text ? json_pack("{s:s}", "base64", text) : NULL;
	free(text);
	return json;
}

static json_t *from_message(const ProtobufCMessage *message);

static json_t *from_enum(const ProtobufCFieldDescriptor *field, int value)
{
	const ProtobufCEnumValue *known =
		protobuf_c_enum_descriptor_get_value(field->descriptor, value);

	return known ? json_string(known->name) : json_integer(value);
}

/* One value of the field at `at`. */
static json_t *from_value(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_integer(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64: {
		uint64_t value = *(const uint64_t *)at;

		/* jansson's integers are signed; larger numbers are text, as in proto's own JSON.
		 */
		return value <= INT64_MAX ? json_integer((json_int_t)value)
					  : json_sprintf("%" PRIu64, value);
	}
	case PROTOBUF_C_TYPE_FLOAT:
		return isfinite(*(const float *)at) ? json_real((double)*(const float *)at)
						    : json_null();
	case PROTOBUF_C_TYPE_DOUBLE:
		return isfinite(*(const double *)at) ? json_real(*(const double *)at) : json_null();
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return from_enum(field, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_string(*(const char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return from_bytes(field, at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return from_message(*(const ProtobufCMessage *const *)at);
	}
	return NULL;
}

static json_t *from_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *value = (const char *)message + field->offset;
	const char *elements;
	json_t *array;
	size_t n;

	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return from_value(field, value);
	n = *(const size_t *)((const char *)message + field->quantifier_offset);
	elements = *(const char *const *)value;
	array = json_array();
	for (size_t i = 0; array && i < n; i++)
		if (json_array_append_new(array,
			    from_value(field, elements + i * wire_member_size(field->type))) < 0) {
			json_decref(array);
			array = NULL;
		}
	return array;
}

static json_t *from_message(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	json_t *object = json_object();

	for (unsigned int i = 0; object && i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (field->label != PROTOBUF_C_LABEL_REPEATED && !wire_is_present(field, message))
			continue;
		if (json_object_set_new(object, field->name, from_field(message, field)) < 0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

int json_from_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	json_t **ret_json, const char **ret_why)
{
	ProtobufCMessage *message;
	struct arena arena;
	int r = -EBADMSG;

	arena_init(&arena, ARENA_HOST_MAX);
	message = verify_unpack(type, bytes, len, &verify_host_limits, &arena, ret_why);
	if (message) {
		*ret_json = from_message(message);
		r = *ret_json ? 0 : -ENOMEM;
	}
	arena_done(&arena);
	return r;
}
