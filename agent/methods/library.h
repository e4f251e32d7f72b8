/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Libraries that are opened only when they are used, so that a guest without them needs none. */
#pragma once

#include <stddef.h>

#define LIBSYSTEMD "libsystemd.so.0"

struct library_symbol {
	const char *name;
	void *at; /* where the pointer to the function goes */
};

/* Opens the library, for good, and looks all of these up. 0, or -ENOPKG where it is not installed
 * or too old. */
int library_load(const char *name, const struct library_symbol *symbols, size_t n);
