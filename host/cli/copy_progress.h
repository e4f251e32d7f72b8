/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a copy says while it runs: a line with a bar, and what was left out. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/copy/copy.h"

struct copy_progress {
	bool json;             /* problems are kept for the end */
	uint64_t files, bytes; /* planned; 0: not known */
	uint64_t began_ns, shown_ns;
	json_t *problems; /* owned; an array */
};

/* Ready, and the functions that a copy calls. copy_progress_end() frees. */
void copy_progress_begin(struct copy_progress *progress, bool json, struct copy_watch *ret_watch);

/* The copy has failed: takes the line away, and frees. */
void copy_progress_drop(struct copy_progress *progress);

/* Takes the line away; a summary: on standard output with json, else on standard error where that
 * is a terminal. */
void copy_progress_end(struct copy_progress *progress, const struct copy_counts *counts);
