/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said of files. */
#pragma once

#include <sys/stat.h>

#include "agent/methods/call.h"
#include "agent/methods/file_place.h"
#include "messages.h"

/* What a listing says of one. path: borrowed. */
void file_entry_describe(
	Postern__V1__FileEntry *entry, const struct stat *st, const char *path, size_t path_len);

/* All that is known of what is at a place, in the call's arena; *ret_entry. 0 or -errno through
 * call_fail(). */
int file_entry_of(
	struct call *call, const struct file_place *place, Postern__V1__FileEntry **ret_entry);

/* A part of a listing on its way. */
struct file_part {
	Postern__V1__FileEntry **entries;
	size_t n;
	Postern__V1__FileProblem **problems;
	size_t n_problems;
};

/* Who wants the parts: put() sets them as the reply's fields, which are sent at once. */
struct file_listing {
	ProtobufCMessage *reply;
	void (*put)(ProtobufCMessage *reply, const struct file_part *part);
	uint64_t count;    /* set at the end: of entries in all */
	uint64_t left_out; /* ... and of problems that were not told */
};

/* Lists a folder. All parts but the last one are sent, that one is in the reply. What cannot be
 * looked at is a problem, not an error, unless it is the folder itself. 0 or -errno through
 * call_fail(). */
int file_list(struct call *call, const struct file_place *place, bool recursive,
	struct file_listing *listing);
