/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes into an initramfs: paths of the guest, each with where its content comes from. The tree
 * has a merged /usr: /bin, /sbin, /lib and /lib64 are links, and what is added below them lands
 * below /usr.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct image_entry {
	char *path;   /* relative to the root, "usr/sbin/posternd" */
	mode_t mode;  /* with its type */
	dev_t rdev;   /* device nodes */
	char *source; /* file of the host; NULL: data */
	char *data;   /* content, or where a link leads */
	size_t len;
};

struct image {
	struct image_entry *entries;
	size_t n;
};

#define IMAGE_HASH_SIZE 65 /* SHA-256 in hex with its NUL */

/* Starts with the links of the merged /usr. 0 or -ENOMEM. */
int image_init(struct image *image);

/* Frees the plan. */
void image_done(struct image *image);

/*
 * Add a path (absolute; the folders above it come by themselves with 0755). Adding the same path
 * again changes nothing when it is the same thing, else it is -EEXIST. 0, -EINVAL for a path that
 * is not absolute or has "..", -ENOMEM.
 */
int image_add_dir(struct image *image, const char *path, mode_t mode);
int image_add_file(struct image *image, const char *path, mode_t mode, const char *source);
int image_add_data(
	struct image *image, const char *path, mode_t mode, const void *data, size_t len);
int image_add_link(struct image *image, const char *path, const char *to);
int image_add_node(struct image *image, const char *path, mode_t mode, dev_t rdev);

/* True if the path is planned already. */
int image_has(const struct image *image, const char *path);

/*
 * SHA-256 over every path, mode and piece of data, and over the identity of every source (device,
 * inode, size, times of the last change): the name of the image in the cache. Sources are not read:
 * for 25 MB that would be a tenth of the time until the guest answers. 0 or -errno of looking at a
 * source, with *ret_source borrowed then.
 */
int image_hash(struct image *image, char ret_hex[IMAGE_HASH_SIZE], const char **ret_source);

/* Writes it as cpio. 0 or -errno, with *ret_source the source that could not be read (borrowed), or
 * NULL. */
int image_write(struct image *image, FILE *out, const char **ret_source);
