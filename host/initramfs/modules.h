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

struct modules; /* those chosen from one kernel's */

/*
 * Adds the modules and what they depend on (files as they are, compressed or not) below
 * /usr/lib/modules/RELEASE, and the lists that depmod reads. modules_dir is the host's
 * .../lib/modules/RELEASE; where no package manager has indexed it, depmod does so in a folder
 * below scratch (an existing folder of ours). 0 with *ret_modules for modules_index(), or -errno
 * with problem[0..size) a sentence.
 */
int modules_choose(struct image *image, const char *modules_dir, const struct module_wish *wishes,
	size_t n, const char *scratch, struct modules **ret_modules, char *problem, size_t size);

/*
 * Adds the indexes that libkmod reads. depmod makes them below scratch: keep that until the image
 * is written. They follow from what modules_choose() added. 0 or -errno, with problem[0..size).
 */
int modules_index(struct image *image, const struct modules *modules, const char *scratch,
	char *problem, size_t size);

void modules_freep(struct modules **modules); /* *modules may be NULL */
