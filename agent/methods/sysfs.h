/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbered objects of sysfs (cpu0, memory17), and the small files that they are made of. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/methods/call.h"

/* The numbers of a folder's entries PREFIX and digits, in order, in the arena. 0 or -errno
 * (-ENOENT: no such folder). */
int sysfs_numbers(
	struct call *call, const char *folder, const char *prefix, uint32_t **ret, size_t *ret_n);

/* A file's text without its line's end. 0 or -errno. The path is what format makes. */
int sysfs_text(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ... and as a number of that base. */
int sysfs_number(int base, uint64_t *ret, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes a file's text, in one piece. 0 or -errno of what it made the kernel do. */
int sysfs_write(const char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether it is one of them. */
bool sysfs_has(const uint32_t *numbers, size_t n, uint32_t number);

/* Whether what a request names is there, and nothing twice. 0, or -errno with call_fail() done:
 * NOT_FOUND, INVALID_ARGUMENT. */
int sysfs_check(struct call *call, const char *what, const uint32_t *there, size_t n_there,
	const uint32_t *on, size_t n_on, const uint32_t *off, size_t n_off);
