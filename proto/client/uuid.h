/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UUIDs as JSON has them (RFC 9562, section 4): 16 bytes, shown as 8-4-4-4-12 digits. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#define UUID_SIZE      16
#define UUID_TEXT_SIZE 37

/* True for a field of bytes whose text is a UUID: boot_id. */
bool uuid_is_form_of(const ProtobufCFieldDescriptor *field);

/* Writes the text, in lower case, and returns it. */
const char *uuid_text(const uint8_t uuid[UUID_SIZE], char text[UUID_TEXT_SIZE]);

/* Reads such a text, of either case. 0 or -EINVAL. */
int uuid_parse(const char *text, uint8_t ret_uuid[UUID_SIZE]);
