/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text for a person, on standard output. What may hold a guest's words goes through here or through
 * a table (table.h): all of it is escaped, so that nothing a guest says moves the cursor.
 */
#pragma once

/* Formats, escapes and prints; the line's end comes from here. */
void show_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same without an end: part of a line. */
void show_words(const char *format, ...) __attribute__((format(printf, 1, 2)));
