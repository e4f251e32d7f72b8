/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The folder of finished images, initramfs-HASH.cpio. */
#pragma once

#include "host/initramfs/image.h"

/* 0 with a new path; -ENOENT where there is no such image; other -errno. Marks the image as just
 * used. */
int cache_find(const char *dir, const char *hash, char **ret_path);

/* Writes the image; it appears whole or not at all. Drops the images unused for longest beyond a
 * handful. 0 with a new path, or -errno with *ret_source as image_write() gives it. */
int cache_write(const char *dir, const char *hash, struct image *image, char **ret_path,
	const char **ret_source);
