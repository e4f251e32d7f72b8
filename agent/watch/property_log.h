/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties in a file, so that they outlive this process: one record for each change, behind one
 * another; those that are out of date are given back to the file system now and then. The file is
 * the broker's, in the run folder, a tmpfs: nothing here waits.
 */
#pragma once

#include <stdint.h>

#include "agent/watch/store.h"

struct property_log {
	int fd; /* borrowed; negative: there is none */
	uint8_t boot_id[16];
	uint64_t start, end; /* where the records are, bytes */
	bool empty;          /* nothing was there yet, or there was no room: all is to be written */
};

/* Reads what this boot's agent has left into the empty store, and goes on behind it. */
void property_log_open(
	struct property_log *log, int fd, const uint8_t boot_id[16], struct store *store);

/* A property is there, or is what it is now. Those that are ephemeral are not kept. */
void property_log_set(
	struct property_log *log, const struct store *store, const struct property *property);

/* One is not there any more. */
void property_log_remove(
	struct property_log *log, const struct store *store, const struct property *property);
