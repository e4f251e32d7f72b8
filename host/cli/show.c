/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/show.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/cleanup.h"
#include "proto/client/text.h"

static void show(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static void show(const char *format, va_list args)
{
	AUTO_FREE char *raw = NULL, *escaped = NULL;
	int n = vasprintf(&raw, format, args);

	if (n < 0)
		raw = NULL;
	else
		escaped = postern_escape_dup(raw, (size_t)n);
	(void)fputs(escaped ? escaped : "(out of memory)", stdout);
}

void show_words(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	show(format, args);
	va_end(args);
}

void show_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	show(format, args);
	va_end(args);
	(void)putchar('\n');
}
