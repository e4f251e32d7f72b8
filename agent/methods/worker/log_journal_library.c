/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/log_journal_library.h"

#include "agent/methods/library.h"
#include "proto/cleanup.h"

struct journal_library journal_lib;

int journal_load(void)
{
	static const struct library_symbol symbols[] = {
		{"sd_journal_open", &journal_lib.open},
		{"sd_journal_open_directory", &journal_lib.open_directory},
		{"sd_journal_close", &journal_lib.close},
		{"sd_journal_has_runtime_files", &journal_lib.has_runtime_files},
		{"sd_journal_has_persistent_files", &journal_lib.has_persistent_files},
		{"sd_journal_set_data_threshold", &journal_lib.set_data_threshold},
		{"sd_journal_add_match", &journal_lib.add_match},
		{"sd_journal_add_disjunction", &journal_lib.add_disjunction},
		{"sd_journal_add_conjunction", &journal_lib.add_conjunction},
		{"sd_journal_flush_matches", &journal_lib.flush_matches},
		{"sd_journal_next", &journal_lib.next},
		{"sd_journal_previous", &journal_lib.previous},
		{"sd_journal_seek_head", &journal_lib.seek_head},
		{"sd_journal_seek_tail", &journal_lib.seek_tail},
		{"sd_journal_seek_realtime_usec", &journal_lib.seek_realtime},
		{"sd_journal_seek_monotonic_usec", &journal_lib.seek_monotonic},
		{"sd_journal_seek_cursor", &journal_lib.seek_cursor},
		{"sd_journal_test_cursor", &journal_lib.test_cursor},
		{"sd_journal_get_cursor", &journal_lib.get_cursor},
		{"sd_journal_get_realtime_usec", &journal_lib.get_realtime},
		{"sd_journal_get_monotonic_usec", &journal_lib.get_monotonic},
		{"sd_journal_restart_data", &journal_lib.restart_data},
		{"sd_journal_enumerate_available_data", &journal_lib.next_data},
		{"sd_journal_get_fd", &journal_lib.get_fd},
		{"sd_journal_get_events", &journal_lib.get_events},
		{"sd_journal_get_timeout", &journal_lib.get_timeout},
		{"sd_journal_process", &journal_lib.process},
	};

	return library_load(LIBSYSTEMD, symbols, ARRAY_SIZE(symbols));
}
