/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of libsystemd that read a journal, sd-journal(3); its header gives their types. */
#pragma once

#include <systemd/sd-journal.h>

struct journal_library {
	__typeof__(sd_journal_open) *open;
	__typeof__(sd_journal_open_directory) *open_directory;
	__typeof__(sd_journal_close) *close;
	__typeof__(sd_journal_has_runtime_files) *has_runtime_files;
	__typeof__(sd_journal_has_persistent_files) *has_persistent_files;
	__typeof__(sd_journal_set_data_threshold) *set_data_threshold;
	__typeof__(sd_journal_add_match) *add_match;
	__typeof__(sd_journal_add_disjunction) *add_disjunction;
	__typeof__(sd_journal_add_conjunction) *add_conjunction;
	__typeof__(sd_journal_flush_matches) *flush_matches;
	__typeof__(sd_journal_next) *next;
	__typeof__(sd_journal_previous) *previous;
	__typeof__(sd_journal_seek_head) *seek_head;
	__typeof__(sd_journal_seek_tail) *seek_tail;
	__typeof__(sd_journal_seek_realtime_usec) *seek_realtime;
	__typeof__(sd_journal_seek_monotonic_usec) *seek_monotonic;
	__typeof__(sd_journal_seek_cursor) *seek_cursor;
	__typeof__(sd_journal_test_cursor) *test_cursor;
	__typeof__(sd_journal_get_cursor) *get_cursor;
	__typeof__(sd_journal_get_realtime_usec) *get_realtime;
	__typeof__(sd_journal_get_monotonic_usec) *get_monotonic;
	__typeof__(sd_journal_restart_data) *restart_data;
	__typeof__(sd_journal_enumerate_available_data) *next_data;
	__typeof__(sd_journal_get_fd) *get_fd;
	__typeof__(sd_journal_get_events) *get_events;
	__typeof__(sd_journal_get_timeout) *get_timeout;
	__typeof__(sd_journal_process) *process;
};

/* What journal_load() has found. */
extern struct journal_library journal_lib;

/* Opens the library. 0, or -ENOPKG where it is not installed or too old. */
int journal_load(void);
