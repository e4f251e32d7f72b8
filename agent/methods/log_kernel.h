/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel says: /dev/kmsg, one record a read (Documentation/ABI/testing/dev-kmsg). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/methods/log_filter.h"

#define LOG_KERNEL_PATH   "/dev/kmsg"
#define LOG_KERNEL_RECORD 8192 /* the kernel has no longer one */

/* One record, taken apart. Texts are borrowed. */
struct kmsg {
	uint32_t priority, facility;
	uint64_t seq, time_us;
	const char *identifier; /* "kernel", or what a process that wrote there calls itself */
	size_t identifier_len;
	uint32_t pid; /* of that process; 0: it does not say */
	const char *message;
	size_t message_len;
};

/* Takes record[0..len) apart, whose escapes it resolves in place. 0, or -EBADMSG for what is none.
 */
int kmsg_parse(char *record, size_t len, struct kmsg *ret);

struct log_kernel {
	int fd; /* owned; non-blocking; -EBADF: it is not read */
	const struct log_filter *filter;
	bool after_seq, after_time; /* only what comes behind these */
	uint64_t seq, time_us;
	uint64_t next_seq;           /* that no record was lost if it comes next; 0: not known */
	uint64_t missed;             /* records that were lost; whoever tells it sets it to 0 */
	Postern__V1__LogEntry entry; /* of the last log_kernel_next(); its texts are in record */
	uint64_t entry_seq;
	char record[LOG_KERNEL_RECORD + 1];
};

/* Begins at the oldest record. fd is taken over. */
void log_kernel_init(struct log_kernel *kernel, int fd, const struct log_filter *filter);
void log_kernel_close(struct log_kernel *kernel);

/* The next entry that passes, into kernel->entry. 1; 0 when there is none now; -errno. Does not
 * block. */
int log_kernel_next(struct log_kernel *kernel);

/* Goes to so many entries before the end, which *ret_n has at most. 0 or -errno. */
int log_kernel_last(struct log_kernel *kernel, size_t lines, size_t *ret_n);

/* Goes behind an entry, where it is of this boot. */
void log_kernel_after(struct log_kernel *kernel, const struct log_cursor *cursor);

/* The number of the newest record; false: there is none. Begins anew. */
bool log_kernel_newest(struct log_kernel *kernel, uint64_t *ret_seq);

/* The time of the oldest record that is there; UINT64_MAX: there is none. Begins anew. */
uint64_t log_kernel_oldest(struct log_kernel *kernel);
