/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * systemd's journal, through its library. Its files are anybody's who is root in the guest: what
 * comes out of them is cut to the sizes below, and the library checks their structure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/methods/log_filter.h"

struct log_journal {
	struct sd_journal *journal; /* owned; NULL: it is not read */
	const struct log_filter *filter;
	/* What the kernel says itself from this on is left out; UINT64_MAX: nothing is. */
	uint64_t kernel_from_us;
	bool at_entry; /* the next one is where it stands */
	/* of the last log_journal_next() */
	Postern__V1__LogEntry entry;
	char cursor[LOG_JOURNAL_CURSOR];
	uint8_t boot[LOG_BOOT_SIZE];
	char unit[LOG_IDENTIFIER_MAX], identifier[LOG_IDENTIFIER_MAX];
	uint8_t message[LOG_MESSAGE_MAX];
};

/*
 * Opens the guest's journal, or that of a folder (NULL: the guest's), for the entries that pass the
 * filter; with kernel_only those that the kernel said. 0; -ENOPKG: no library; -ENOENT: there is no
 * journal, or (*ret_boot false) not the boot that is asked for; or -errno.
 */
int log_journal_open(struct log_journal *journal, const char *folder,
	const struct log_filter *filter, bool kernel_only, bool *ret_boot);
void log_journal_close(struct log_journal *journal);

/* The next entry that passes, into journal->entry. 1; 0 when there is none now; -errno when it
 * cannot be read any further. */
int log_journal_next(struct log_journal *journal);

/* Goes to so many entries before the end, which *ret_n has at most. 0 or -errno. */
int log_journal_last(struct log_journal *journal, size_t lines, size_t *ret_n);

/* Goes to the first entry that may pass, or behind the one of a cursor. 0 or -errno. */
int log_journal_first(struct log_journal *journal);
int log_journal_after(struct log_journal *journal, const struct log_cursor *cursor);

/* For poll(): what to wait for, and until when at the latest (CLOCK_MONOTONIC ns, UINT64_MAX: for
 * ever). A descriptor that is borrowed, or -errno. */
int log_journal_wait(struct log_journal *journal, short *ret_events, uint64_t *ret_until);

/* Looks what has come, after a wait. 0 or -errno. */
int log_journal_process(struct log_journal *journal);
