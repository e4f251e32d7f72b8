/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a request to what sd-journal's index is asked for. */
#pragma once

#include "agent/methods/log_journal.h"

/* Of an opened journal: only the boot that is asked for, where it is one. 0; -ENOENT (*ret_boot
 * false): there is no such boot; or -errno. */
int log_journal_match_boot(struct log_journal *journal, bool *ret_boot);

/* The rest of it that has an index; log_filter_passes() has the last word. 0 or -errno. */
int log_journal_match(struct log_journal *to, bool kernel_only);

/* The boot of the entry where the journal stands. 0 or -errno. */
int log_journal_boot_at(const struct log_journal *journal, uint8_t boot[LOG_BOOT_SIZE]);
