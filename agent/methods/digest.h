/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests by name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIGEST_DEFAULT  "sha256"
#define DIGEST_TEXT_MAX 129 /* of the longest one, with a NUL byte */

/* Of libmd and, in the same shape, of libcrypto. */
struct digest_functions {
	int (*init)(void *context);
	int (*update)(void *context, const void *bytes, size_t len);
	int (*final)(unsigned char *digest, void *context);
};

struct digest_algorithm;

/* By one library. */
struct digest_work {
	struct digest_functions functions;
	uint64_t context[64]; /* room for that of any of them */
	uint64_t spent_ns;
};

/* One that is being made. Of a large file the first pieces are worked on by each library that there
 * is, and the faster one goes on with what it has. */
struct digest {
	const struct digest_algorithm *algorithm;
	struct digest_work work[2];
	size_t works;
	uint64_t bytes; /* so far */
};

/* NULL: there is none of this name. */
const struct digest_algorithm *digest_find(const char *name);

/* All names, with commas between. */
const char *digest_names(void);

const char *digest_name(const struct digest_algorithm *algorithm);

/* size: about how many bytes will come; for many of them it is worth looking for another library.
 */
void digest_begin(struct digest *digest, const struct digest_algorithm *algorithm, uint64_t size);
void digest_add(struct digest *digest, const void *bytes, size_t len);

/* Lower-case hexadecimal digits. */
void digest_end(struct digest *digest, char ret_text[DIGEST_TEXT_MAX]);

/* Reads a file (borrowed) from where it stands to its end. 0 or -errno. Blocks as read(2) does. */
int digest_file(const struct digest_algorithm *algorithm, int fd, char ret_text[DIGEST_TEXT_MAX],
	uint64_t *ret_size);
