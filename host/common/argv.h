/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An argument vector that grows. No shell ever sees it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ARGV_MAX 256

struct argv {
	char *words[ARGV_MAX + 1]; /* owned; NULL behind the last */
	size_t n;
	bool failed; /* out of memory or of room: the whole is unusable */
};

/* Appends one word. */
void argv_add(struct argv *argv, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Frees the words. */
void argv_done(struct argv *argv);
