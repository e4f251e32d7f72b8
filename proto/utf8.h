/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Decodes the first character of bytes[0..len), len >= 1. Returns its length in bytes (1 to 4) and
 * sets *ret_char, or 0 where the bytes are not UTF-8: truncated, over-long, a surrogate, or above
 * U+10FFFF (RFC 3629, section 3). */
static inline size_t utf8_next(const uint8_t *bytes, size_t len, uint32_t *ret_char)
{
	uint32_t c = bytes[0];
	size_t n = c < 0x80 ? 1 : (c >> 5) == 6 ? 2 : (c >> 4) == 14 ? 3 : (c >> 3) == 30 ? 4 : 0;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	if (n == 0 || n > len)
		return 0;
	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (bytes[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret_char = c;
	return n;
}
