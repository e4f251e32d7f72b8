/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "proto/utf8.h"

#define ESCAPED_MAX 12 /* \u{10ffff} and a NUL byte */

/* Characters that would move, hide or reorder what a person sees. */
static bool is_dangerous(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == '\\' || c == 0xad || c == 0x61c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe0fff);
}

/* One character, n bytes long (0: invalid, one byte), as it may be printed. Returns its length. */
static size_t escape_one(const uint8_t *at, size_t n, uint32_t c, char text[ESCAPED_MAX])
{
	if (n == 0)
		return (size_t)snprintf(text, ESCAPED_MAX, "\\x%02x", at[0]);
	if (!is_dangerous(c)) {
		memcpy(text, at, n);
		return n;
	}
	if (c == '\n' || c == '\t' || c == '\\') {
		text[0] = '\\';
		text[1] = c == '\n' ? 'n' : c == '\t' ? 't' : '\\';
		return 2;
	}
	return (size_t)snprintf(text, ESCAPED_MAX, c < 0x80 ? "\\x%02x" : "\\u{%x}", c);
}

size_t postern_escape(const void *text, size_t len, char *out, size_t size)
{
	const uint8_t *at = text;
	size_t used = 0;

	if (size == 0)
		return 0;
	while (len > 0) {
		char escaped[ESCAPED_MAX];
		uint32_t c = 0;
		size_t n = utf8_next(at, len, &c), m = escape_one(at, n, c, escaped);

		if (used + m >= size)
			break;
		memcpy(out + used, escaped, m);
		used += m;
		n = n ? n : 1;
		at += n;
		len -= n;
	}
	out[used] = '\0';
	return used;
}

char *postern_escape_dup(const void *text, size_t len)
{
	/* An invalid byte becomes four, a character of two or more bytes at most ten. */
	size_t size = len * 5 + 1;
	char *out = malloc(size);

	if (out)
		postern_escape(text, len, out, size);
	return out;
}

size_t postern_columns(const char *text)
{
	size_t len = strlen(text), columns = 0;
	const uint8_t *at = (const uint8_t *)text;

	while (len > 0) {
		uint32_t c = 0;
		size_t n = utf8_next(at, len, &c);
		int width = n ? wcwidth((wchar_t)c) : 1;

		/* Without a locale the C library knows no width but ASCII's. */
		columns += width >= 0 ? (size_t)width : 1;
		n = n ? n : 1;
		at += n;
		len -= n;
	}
	return columns;
}
