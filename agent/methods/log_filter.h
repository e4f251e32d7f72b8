/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which entries of the guest's logs are wanted, and from where on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logs.pb-c.h"

#define LOG_BOOT_SIZE       16
#define LOG_PRIORITY_LOWEST 7
#define LOG_CURSOR_MAX      1024
#define LOG_JOURNAL_CURSOR  512
#define LOG_MESSAGE_MAX     (16u << 10)
#define LOG_IDENTIFIER_MAX  256
#define LOG_BOOT_PATH       "/proc/sys/kernel/random/boot_id"

struct log_filter {
	const Postern__V1__LogsReadRequest *request; /* borrowed; NULL: all that there is */
	uint8_t boot[LOG_BOOT_SIZE];                 /* this one */
	bool fold;  /* upper and lower case of the text are the same */
	int caller; /* borrowed; the socket of whoever all this is for; -1: not yet there */
};

/* This boot and the request, which must outlive the filter. 0 or -errno. */
int log_filter_init(struct log_filter *filter, const Postern__V1__LogsReadRequest *request);

/* All that a filter asks of an entry but its boot and its unit. */
bool log_filter_passes(const struct log_filter *filter, const Postern__V1__LogEntry *entry);

/* Whether the caller is gone: asked now and then while much is read that does not pass. */
bool log_filter_is_over(const struct log_filter *filter);

/* Whether entries of any boot are wanted, not those of a certain one. */
bool log_filter_is_of_any_boot(const struct log_filter *filter);

/* Whether the entry is of this boot. */
bool log_entry_is_of_now(const struct log_filter *filter, const Postern__V1__LogEntry *entry);

/* Where a reading is: behind an entry, which was the last of one of the sources. */
struct log_cursor {
	uint8_t boot[LOG_BOOT_SIZE]; /* in which it was read */
	int64_t realtime_us;         /* of the last entry */
	uint64_t monotonic_us;       /* of the last entry */
	bool has_kernel;
	uint64_t kernel_seq;              /* of the last one of the kernel */
	char journal[LOG_JOURNAL_CURSOR]; /* the library's own, of the last one; empty: none */
};

/* Into text, LOG_CURSOR_MAX bytes; returns text. */
char *log_cursor_print(const struct log_cursor *cursor, char *text);

/* The other way round. 0, or -EINVAL for what is none. */
int log_cursor_parse(const char *text, struct log_cursor *ret);
