/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel modules of a guest with all that they depend on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "host/initramfs/image.h"

struct module_wish {
	const char *name; /* "vsock"; - and _ are the same */
	bool needed;      /* an error where the kernel has it neither as a module nor built in */
};

/*
 * Adds the modules (files as they are, compressed or not) below /usr/lib/modules/RELEASE, with the
 * indexes that libkmod reads; depmod makes these in a folder below scratch (an existing folder of
 * ours), and for the whole of a folder that has no modules.dep yet. modules_dir is the host's
 * .../lib/modules/RELEASE.
 * The image's sources lead into scratch: keep it until the image is written. 0 or -errno, with
 * problem[0..size) a sentence.
 */
int image_add_modules(struct image *image, const char *modules_dir,
	const struct module_wish *wishes, size_t n, const char *scratch, char *problem,
	size_t size);
