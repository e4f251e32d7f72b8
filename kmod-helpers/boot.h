/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The modules of the small guest: what its image carries, and what it loads when it starts. It has
 * no network, so what needs one is not among them; "postern launch --add-module" adds it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct kmod_boot {
	const char *name;
	bool needed; /* the guest is of no use without it, built in or as a module */
	bool loaded; /* at boot; the others are there to be loaded when something asks for them */
};

/* The list, *ret_n rows; static. */
const struct kmod_boot *kmod_boot_modules(size_t *ret_n);
