/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making disk images on this host, before a guest sees them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"

/* A new raw image of so many bytes, all zero, that takes no room yet. 0; -EEXIST, or another
 * -errno, with *error. */
int disk_image_create(const char *image, uint64_t bytes, struct postern_error *error);

/*
 * Makes a file system on a whole raw image with the host's mkfs.TYPE. Without force only where
 * nothing is: the first and the last MiB, where file systems, partition tables and arrays say what
 * they are, must be zero. Blocks for as long as that takes, at most ten minutes. 0; -EEXIST; or
 * another -errno, with *error.
 */
int disk_image_mkfs(const char *image, const char *type, bool force, struct postern_error *error);
