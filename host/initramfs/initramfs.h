/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Initramfs images, made once for the same content and kept. */
#pragma once

#include <stddef.h>

#include "host/initramfs/modules.h"
#include "proto/client/client.h"

struct initramfs_item {
	const char *source; /* of the host */
	const char *target; /* absolute, in the guest */
};

struct initramfs_text {
	const char *target;
	const char *text;
};

struct initramfs_spec {
	const struct initramfs_item *programs; /* with their libraries */
	size_t n_programs;
	const struct initramfs_item *files; /* folders with all that is in them, or files; programs
					     * among these come with their libraries */
	size_t n_files;
	const struct initramfs_text *texts; /* files of 0644 with this content */
	size_t n_texts;
	const char *init;        /* where /init leads, absolute in the guest */
	const char *modules_dir; /* .../lib/modules/RELEASE; NULL: no modules */
	const struct module_wish *modules;
	size_t n_modules;
};

/*
 * Finds or makes the image of the spec in cache_dir (made when it is missing; the newest few images
 * are kept). Blocks for as long as reading all sources takes. 0 with a new path in *ret_path, or
 * -errno with *error.
 */
int initramfs_build(const struct initramfs_spec *spec, const char *cache_dir, char **ret_path,
	struct postern_error *error);
