/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log lines on standard error: "PROGRAM: LEVEL: text", or with a <N> prefix when standard error is
 * the journal (JOURNAL_STREAM is set). A line never blocks longer than one write(), never holds a
 * peer's bytes unescaped (callers pass only text of their own), and is at most 1 KiB.
 */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* Sets the program's name as lines show it (borrowed for ever) and the highest level shown. */
void log_open(const char *program, enum log_level highest);

/* Parses "error", "warning", "info" or "debug". 0, or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret_level);

/* The word for a level. */
const char *log_level_name(enum log_level level);

/* Lines that were lost because standard error would not take them. */
unsigned long log_dropped(void);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
