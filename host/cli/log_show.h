/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's log entries as lines: as journalctl(1) shows them, or as JSON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "host/cli/log_stream.h"

enum log_form { LOG_SHORT, LOG_ISO, LOG_JSON };

struct log_show {
	enum log_form form;
	char host[256]; /* the guest's name, escaped */
	bool any;       /* something was shown */
	uint8_t boot[16];
};

/* Prints one entry; all of the guest's bytes are escaped. boot: of the guest that runs now, 16
 * bytes. */
void log_show_entry(struct log_show *show, const struct log_record *record, const uint8_t *boot);

/* Says on standard error (JSON: on standard output) what is missing. */
void log_show_gap(const struct log_show *show, const struct log_record *record);
