/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages as JSON by their descriptors. Names are those of the .proto; 64-bit numbers are JSON
 * integers; enumerations their names; absent fields are left out; bytes are a string when they are
 * valid UTF-8 without NUL (a boot_id: when they are a UUID, as its text), else {"base64": "..."}.
 * What one direction writes the other takes back, but for numbers that JSON has not (NaN is null)
 * and for enumerations that this program does not know.
 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct method_schema {
	const ProtobufCMessageDescriptor *request;
	const ProtobufCMessageDescriptor *reply;
};

/* The types of "service.rpc", or of a topic "notify...."; -ENOENT where no .proto has it. */
int schema_find(const char *method, struct method_schema *ret_schema);

/* bytes[0..len) as a new JSON object (the caller decrefs). -EBADMSG with *ret_why where they are
 * not such a message within the host's limits; -ENOMEM. */
int json_from_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	json_t **ret_json, const char **ret_why);

/* The message that the object stands for, packed into new memory (the caller frees). -EINVAL with
 * problem[0..size) naming the field and what was expected; -ENOMEM. */
int json_to_message(const ProtobufCMessageDescriptor *type, const json_t *json, uint8_t **ret_bytes,
	size_t *ret_len, char *problem, size_t size);
