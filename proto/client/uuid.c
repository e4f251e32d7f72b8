/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool uuid_is_form_of(const ProtobufCFieldDescriptor *field)
{
	return strcmp(field->name, "boot_id") == 0;
}

/* A dash stands before these bytes. */
static bool dash_before(int i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

const char *uuid_text(const uint8_t uuid[UUID_SIZE], char text[UUID_TEXT_SIZE])
{
	char *at = text;

	for (int i = 0; i < UUID_SIZE; i++)
		at += sprintf(at, dash_before(i) ? "-%02x" : "%02x", uuid[i]);
	return text;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

int uuid_parse(const char *text, uint8_t ret_uuid[UUID_SIZE])
{
	for (int i = 0; i < UUID_SIZE; i++, text += 2) {
		if (dash_before(i) && *text++ != '-')
			return -EINVAL;
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
			return -EINVAL;
		ret_uuid[i] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	}
	return *text == '\0' ? 0 : -EINVAL;
}
