/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What files.* and disks.* do with files, once it is known where they are. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/methods/call.h"
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
