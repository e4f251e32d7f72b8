/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/json_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"

#define DEL      '\x7f'
#define DEL_TEXT "\\u007f"

/* jansson leaves this one control character as it is; in its text it can stand in a string only. */
static char *without_del(char *text)
{
	size_t n = 0;
	char *out, *to;

	for (const char *at = text; *at; at++)
		n += *at == DEL;
	if (n == 0)
		return text;
	to = out = malloc(strlen(text) + n * strlen(DEL_TEXT) + 1);
	for (const char *at = text; out && *at; at++) {
		if (*at == DEL)
			to = stpcpy(to, DEL_TEXT);
		else
			*to++ = *at;
	}
	if (out)
		*to = '\0';
	free(text);
	return out;
}

char *json_text(const json_t *json, unsigned int indent)
{
	size_t flags = JSON_ENCODE_ANY | JSON_ENSURE_ASCII;
	char *text = json_dumps(json, flags | (indent ? JSON_INDENT(indent) : JSON_COMPACT));

	return text ? without_del(text) : NULL;
}

int json_print(const json_t *json, unsigned int indent, FILE *out)
{
	AUTO_FREE char *text = json_text(json, indent);

	if (!text)
		return -ENOMEM;
	return fprintf(out, "%s\n", text) < 0 ? -EIO : 0;
}
