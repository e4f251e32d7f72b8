/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log lines on standard error: "PROGRAM: LEVEL: text", or with a <N> prefix when standard error is
 * the journal (JOURNAL_STREAM is set). A line never waits where standard error is a socket; else it
 * takes one write(), which log_never_wait() keeps from waiting for a pipe or a terminal. It never
 * holds a peer's bytes unescaped (callers pass only text of their own), and is at most 1 KiB.
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

/*
 * For a service: standard error, where it is a pipe or a terminal, becomes an open file of our own
 * that does not wait for a reader. Whoever else has the old one keeps it as it is; programs that
 * are started from here on inherit the new one. It needs /proc; where it cannot be done all stays.
 */
void log_never_wait(void);

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
