/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file on a disk that a request names. */
#pragma once

#include "agent/methods/file_place.h"
#include "messages.h"

/*
 * Finds where the disk is mounted, and opens what is above the path there, as file_place_open()
 * does. path absent or empty: the root of the disk. 0, or
 * -errno through call_fail(): NOT_FOUND where nothing is called so, FAILED_PRECONDITION where it is
 * not mounted, not below disks_folders, or several are called so.
 */
int disk_place_open(struct call *call, bool has_disk, const ProtobufCBinaryData *disk,
	bool has_path, const ProtobufCBinaryData *path, enum touch how, struct file_place *place);

/* The only disk that is called so, mounted or not, in the call's arena. 0, or -errno through
 * call_fail(): NOT_FOUND, FAILED_PRECONDITION where several are. */
int disk_find(
	struct call *call, bool has_disk, const ProtobufCBinaryData *disk, Postern__V1__Disk **ret);

/* Tells everybody (notify.error) of an error that is the disk's and not the request's. path: NULL
 * or empty where it is of none. Returns r. */
int disk_tell_error(
	struct call *call, int r, const ProtobufCBinaryData *disk, const ProtobufCBinaryData *path);
