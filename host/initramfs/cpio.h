/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes the cpio format "newc", which the kernel unpacks (Linux, Documentation/driver-api/
 * early-userspace/buffer-format.rst). Owner and times are 0, so that the same content gives the
 * same bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct cpio {
	FILE *out;   /* borrowed */
	uint64_t at; /* bytes written */
	uint32_t inode;
};

/*
 * Writes one entry: a directory, a link (data is where it leads), a device node (rdev) or a file
 * with data[0..len). path is relative, without "./". 0; -EFBIG over 4 GiB; -ENAMETOOLONG; -EIO.
 */
int cpio_entry(
	struct cpio *cpio, const char *path, mode_t mode, dev_t rdev, const void *data, size_t len);

/* Writes a file whose size bytes come from fd. -EIO also where fd has fewer. */
int cpio_file(struct cpio *cpio, const char *path, mode_t mode, int fd, uint64_t size);

/* Writes the trailer. 0 or -EIO; the caller still has to flush and close. */
int cpio_end(struct cpio *cpio);
