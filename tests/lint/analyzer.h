/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shown to clang-tidy before each file, and to no compiler. The analyzer does not know the cleanup
 * attribute and takes what a scope releases for a leak; so it is not told what is fresh memory. Use
 * after free it still finds. Leaks are for `make asan`.
 */
#pragma once

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#undef strdup
#undef strndup
void *unseen_malloc(size_t size);
void *unseen_calloc(size_t n, size_t size);
char *unseen_strdup(const char *text);
char *unseen_strndup(const char *text, size_t most);
#define malloc(size)        unseen_malloc(size)
#define calloc(n, size)     unseen_calloc(n, size)
#define strdup(text)        unseen_strdup(text)
#define strndup(text, most) unseen_strndup(text, most)
