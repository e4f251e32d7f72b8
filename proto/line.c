/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "line.h"

#include <errno.h>

int line_read(FILE *file, char line[LINE_SIZE], const char **ret_why)
{
	size_t n = 0;
	int c;

	while ((c = getc_unlocked(file)) != EOF && c != '\n') {
		if (c == '\0') {
			*ret_why = "a line holds a NUL byte";
			return -EINVAL;
		}
		if (n == LINE_SIZE - 1) {
			*ret_why = "a line is longer than 1023 bytes";
			return -EINVAL;
		}
		line[n++] = (char)c;
	}
	line[n] = '\0';
	if (ferror(file))
		return -EIO;
	return c == '\n' || n > 0;
}
