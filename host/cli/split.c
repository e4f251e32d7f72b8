/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/split.h"

int split_colons(char *text, struct split *ret_split)
{
	char *to = text;

	*ret_split = (struct split){.parts = {text}, .n = 1};
	for (const char *from = text;; from++) {
		if (*from == '\\' && (from[1] == ':' || from[1] == '\\')) {
			*to++ = *++from;
			continue;
		}
		if (*from != ':' && *from != '\0') {
			*to++ = *from;
			continue;
		}
		if (to == ret_split->parts[ret_split->n - 1])
			return -1;
		if (*from == '\0') {
			*to = '\0';
			return ret_split->n;
		}
		if (ret_split->n == SPLIT_MAX)
			return -1;
		*to++ = '\0';
		ret_split->parts[ret_split->n++] = to;
	}
}
