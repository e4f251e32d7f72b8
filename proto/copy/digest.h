/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XXH64: what was read on one side is what was written on the other. It is no proof against
 * somebody who wants two files to look alike, and need not be: they are the sender. (XXH3 is faster
 * where there are vector instructions, but six times slower in a guest whose processor is
 * emulated.) */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define COPY_DIGEST_SIZE 8

struct copy_digest {
	XXH64_state_t state;
};

static inline void copy_digest_begin(struct copy_digest *digest)
{
	(void)XXH64_reset(&digest->state, 0);
}

static inline void copy_digest_add(struct copy_digest *digest, const void *bytes, size_t len)
{
	(void)XXH64_update(&digest->state, bytes, len);
}

static inline void copy_digest_end(const struct copy_digest *digest, uint8_t ret[COPY_DIGEST_SIZE])
{
	XXH64_canonical_t canonical;

	XXH64_canonicalFromHash(&canonical, XXH64_digest(&digest->state));
	memcpy(ret, canonical.digest, COPY_DIGEST_SIZE);
}
