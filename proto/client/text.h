/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text from a guest is hostile to a terminal: it can move the cursor, set titles, fake prompts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * Writes text[0..len) into out (size bytes, NUL-terminated, cut at a whole character) so that it
 * can be printed: printable UTF-8 stays; control characters, C1 bytes, invalid bytes, the backslash
 * and the characters that change direction or hide (U+200B to U+200F, U+2028 to U+202E, U+2066 to
 * U+2069, U+FEFF) become \n, \t, \xNN or \u{NNNN}. Returns the length written.
 */
size_t postern_escape(const void *text, size_t len, char *out, size_t size);

/* The same into new memory; the caller frees. NULL: out of memory. */
char *postern_escape_dup(const void *text, size_t len);

/* Columns that escaped text takes on a terminal: wcwidth() of each character, in the caller's
 * locale. */
size_t postern_columns(const char *text);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
