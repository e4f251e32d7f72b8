/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What it took long to find out about this host, kept in a file of the cache folder. */
#pragma once

#include <stdbool.h>

/* What is known under the key: 1 yes, 0 no, -ENOENT: nothing, or there is no cache folder. */
int proof_find(const char *key);

/* Keeps it, as far as that is possible. At 32 of them the file begins anew. */
void proof_keep(const char *key, bool yes);

/* "PATH MTIME SIZE" of a file, for a key that is another one when the file is. The caller frees;
 * NULL: there is no such file, or no memory. */
char *proof_of_file(const char *path);
