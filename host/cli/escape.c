/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/escape.h"

enum escape_wish escape_take(
	struct escape *escape, const uint8_t *typed, size_t len, uint8_t *out, size_t *ret_len)
{
	enum escape_wish wish = ESCAPE_NONE;
	size_t n = 0;

	for (size_t i = 0; i < len && wish != ESCAPE_LEAVE; i++) {
		uint8_t key = typed[i];

		if (escape->state == ESCAPE_LINE_BEGINS && key == '~') {
			escape->state = ESCAPE_TILDE;
			continue;
		}
		if (escape->state == ESCAPE_TILDE && (key == '.' || key == '?')) {
			wish = key == '.' ? ESCAPE_LEAVE : ESCAPE_HELP;
			escape->state = ESCAPE_LINE_BEGINS;
			continue;
		}
		if (escape->state == ESCAPE_TILDE && key != '~')
			out[n++] = '~';
		out[n++] = key;
		escape->state = key == '\r' || key == '\n' ? ESCAPE_LINE_BEGINS : ESCAPE_IN_LINE;
	}
	*ret_len = n;
	return wish;
}
