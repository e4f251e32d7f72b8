/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests by name. */
#pragma once

#include <sys/types.h>

#include <md5.h>
#include <rmd160.h>
#include <sha1.h>
#include <sha2.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_DEFAULT  "sha256"
#define DIGEST_TEXT_MAX 129 /* of the longest one, with a NUL byte */

union digest_context {
	MD5_CTX md5;
	RMD160_CTX rmd160;
	SHA1_CTX sha1;
	SHA2_CTX sha2;
};

struct digest_algorithm {
	const char *name;
	size_t len; /* bytes */
	void (*init)(union digest_context *context);
	void (*update)(union digest_context *context, const uint8_t *bytes, size_t len);
	void (*final)(uint8_t *digest, union digest_context *context);
};

/* One that is being made. */
struct digest {
	const struct digest_algorithm *algorithm;
	union digest_context context;
};

/* NULL: there is none of this name. */
const struct digest_algorithm *digest_find(const char *name);

/* All names, with commas between. */
const char *digest_names(void);

void digest_begin(struct digest *digest, const struct digest_algorithm *algorithm);
void digest_add(struct digest *digest, const void *bytes, size_t len);

/* Lower-case hexadecimal digits. */
void digest_end(struct digest *digest, char ret_text[DIGEST_TEXT_MAX]);

/* Reads a file (borrowed) from where it stands to its end. 0 or -errno. Blocks as read(2) does. */
int digest_file(const struct digest_algorithm *algorithm, int fd, char ret_text[DIGEST_TEXT_MAX],
	uint64_t *ret_size);
