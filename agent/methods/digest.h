/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests by name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIGEST_DEFAULT  "sha256"
#define DIGEST_TEXT_MAX 129 /* of the longest one, with a NUL byte */

struct digest_algorithm;

/* NULL: there is none of this name. */
const struct digest_algorithm *digest_find(const char *name);

/* All names, with commas between. */
const char *digest_names(void);

/* Reads a file (borrowed) from where it stands to its end. 0 with lower-case hexadecimal digits, or
 * -errno. Blocks as read(2) does. */
int digest_file(const struct digest_algorithm *algorithm, int fd, char ret_text[DIGEST_TEXT_MAX],
	uint64_t *ret_size);
