/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/style.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *style(FILE *out, enum style style)
{
	static const char *const sequences[] = {
		[STYLE_PLAIN] = "\x1b[0m",
		[STYLE_BOLD] = "\x1b[1m",
		[STYLE_RED] = "\x1b[31m",
		[STYLE_YELLOW] = "\x1b[33m",
		[STYLE_DIM] = "\x1b[2m",
	};
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	if ((none && *none) || (term && strcmp(term, "dumb") == 0) || !isatty(fileno(out)))
		return "";
	return sequences[style];
}
