/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void argv_add(struct argv *argv, const char *format, ...)
{
	char *word = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&word, format, args);
	va_end(args);
	if (n < 0 || argv->n == ARGV_MAX) {
		if (n >= 0)
			free(word);
		argv->failed = true;
		return;
	}
	argv->words[argv->n++] = word;
	argv->words[argv->n] = NULL;
}

void argv_done(struct argv *argv)
{
	for (size_t i = 0; i < argv->n; i++)
		free(argv->words[i]);
	*argv = (struct argv){0};
}
