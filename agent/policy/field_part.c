/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/field_part.h"

#include <stdlib.h>
#include <string.h>

void field_part(const char *text, size_t *ret_len, size_t *ret_part)
{
	const char *dot = strrchr(text, '.');
	size_t digits = dot ? strspn(dot + 1, "0123456789") : 0;

	*ret_len = dot ? (size_t)(dot - text) : strlen(text);
	*ret_part = FIELD_ALL;
	if (dot && strcmp(dot, ".count") == 0)
		*ret_part = FIELD_COUNT;
	else if (digits > 0 && digits < 6 && dot[1 + digits] == '\0')
		*ret_part = strtoul(dot + 1, NULL, 10);
	else
		*ret_len = strlen(text);
}
