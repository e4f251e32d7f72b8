/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "proto/client/client.h"

/* Looks at a disk image, a file or a block device: its absolute path (the caller frees), and
 * whether it is qcow2; else it is raw. 0 or -errno with *error. */
int disk_look(const char *image, char **ret_path, bool *ret_qcow2, struct postern_error *error);

/* The id of the disk of a machine that is called so, or has this image. 0; -ENOENT, or another
 * -errno, with *error. */
int disk_find_id(
	const char *name, const char *id_or_image, char ret_id[16], struct postern_error *error);

/* postern_disk_plug(), which tells what the disk is called before it is plugged, when that is sure
 * (on_id may be NULL). */
int disk_plug(const char *name, const char *image, bool read_only,
	void (*on_id)(void *ctx, const char *id), void *ctx, char ret_id[16],
	struct postern_error *error);
