/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const uint8_t *bytes, size_t len)
{
	char *text = malloc((len + 2) / 3 * 4 + 1), *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)bytes[i] << 16 |
			     (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
			     (left > 2 ? bytes[i + 2] : 0);

		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = left > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[v & 63] : '=';
	}
	*to = '\0';
	return text;
}

int base64_decode(const char *text, uint8_t **ret_bytes, size_t *ret_len)
{
	size_t len = strlen(text), n = 0;
	uint8_t *bytes = malloc(len / 4 * 3 + 1);

	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < len && len % 4 == 0; i += 4) {
		int pad = i + 4 == len ? (text[i + 3] == '=') + (text[i + 2] == '=') : 0;
		uint32_t v = 0;

		for (int j = 0; j < 4; j++) {
			const char *digit =
				j >= 4 - pad ? digits : strchr(digits, text[i + (size_t)j]);

			if (!digit)
				goto fail;
			v = v << 6 | (uint32_t)(digit - digits);
		}
		for (int j = 0; j < 3 - pad; j++)
			bytes[n++] = (uint8_t)(v >> (16 - 8 * j));
	}
	if (len % 4 == 0) {
		*ret_bytes = bytes;
		*ret_len = n;
		return 0;
	}
fail:
	free(bytes);
	return -EINVAL;
}
