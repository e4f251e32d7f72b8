/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs with everything that the loader will look for when they start. */
#pragma once

#include "host/initramfs/image.h"

/*
 * Adds a program (source: path of the host) as `path` (mode 0755), and each library that its ELF
 * header names, theirs too, and the interpreter, at the paths where they stand on the host: in the
 * loader's default folders or where a RUNPATH leads. What is dlopen()ed only is not found. A script
 * or static program comes alone.
 * 0 or -errno, with problem[0..size) a sentence.
 */
int image_add_program(
	struct image *image, const char *path, const char *source, char *problem, size_t size);
