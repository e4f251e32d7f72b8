/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What files.* and disks.* do with files, once it is known where they are. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/methods/call.h"
#include "agent/methods/digest.h"
#include "agent/methods/file_place.h"

#define FILE_MODE_DEFAULT   0644
#define FOLDER_MODE_DEFAULT 0755
#define READ_DEFAULT        (UINT64_C(1) << 20)
#define READ_MOST           (UINT64_C(64) << 20)

/* Who wants the parts of what is read: put() sets them as the reply's fields;
 * data is one piece. */
struct file_reading {
	uint64_t offset;
	uint64_t length;
	ProtobufCMessage *reply;
	void (*put)(ProtobufCMessage *reply, ProtobufCBinaryData *data, bool last, bool end);
};

/* Reads a piece; all parts but the last one are sent, that one is in the reply. 0 or -errno through
 * call_fail(). */
int file_read(struct call *call, const struct file_place *place, struct file_reading *reading);

/* The digest of a file; name NULL: the default. Texts live in the call's arena. 0 or -errno through
 * call_fail(). */
int file_footprint(struct call *call, const struct file_place *place, const char *name,
	char **ret_footprint, const char **ret_name, uint64_t *ret_size);

/* A mode of a request: 0 with the wanted or the default one, or -errno through call_fail(). */
int file_mode(struct call *call, bool has, uint32_t wanted, mode_t otherwise, mode_t *ret);

/* Puts a whole file there, in one step, alike the one that was there. 0 or -errno through
 * call_fail(). */
int file_replace(struct call *call, const struct file_place *place, mode_t mode,
	const ProtobufCBinaryData *data);

/* Removes what is there, a folder with all in it where recursive; *ret_removed names are gone. 0 or
 * -errno through call_fail(). */
int file_remove(
	struct call *call, const struct file_place *place, bool recursive, uint64_t *ret_removed);

/* renameat2(2) without RENAME_NOREPLACE where replace; where the file system does not know that
 * flag (exFAT), the new name is looked at first. 0 or -errno: -EEXIST. */
int file_rename(int dir, const char *name, int target_dir, const char *target, bool replace);

/* A copy of a file that is being made, or one of bytes. */
struct file_copying {
	const struct digest_algorithm *algorithm;
	bool replace;           /* a file that is there goes */
	bool verify;            /* read it once more from its disk */
	const char *source;     /* where it is copied from, for a person; borrowed */
	bool unreadable;        /* set: it failed because of the source */
	char *footprint;        /* set: of what was written; in the call's arena */
	char *source_footprint; /* set: the same, of what was read */
	uint64_t size;          /* set */
};

/* The algorithm of a request's name, or the default; NULL with call_fail(). */
const struct digest_algorithm *file_algorithm(struct call *call, const char *name);

/* Copies from an opened file (borrowed; -EBADF: what data has) to a place, where the copy is whole
 * or not there. Mode is that of the source, without set-id bits. 0 or -errno through call_fail(),
 * with the outcome. */
int file_copy(struct call *call, int from, const ProtobufCBinaryData *data,
	const struct file_place *to, struct file_copying *copying);
