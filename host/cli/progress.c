/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static bool shown;

void progress_show(const char *text)
{
	if (!isatty(STDERR_FILENO))
		return;
	shown = true;
	(void)fprintf(stderr, "\r\x1b[K%s ...", text);
}

void progress_end(void)
{
	if (shown)
		(void)fputs("\r\x1b[K", stderr);
	shown = false;
}
