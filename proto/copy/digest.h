/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XXH3 with 128 bits: what was read on one side is what was written on the other. It is no proof
 * against somebody who wants two files to look alike, and need not be: they are the sender. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define COPY_DIGEST_SIZE 16

struct copy_digest {
	XXH3_state_t state;
};

static inline void copy_digest_begin(struct copy_digest *digest)
{
	(void)XXH3_128bits_reset(&digest->state);
}

static inline void copy_digest_add(struct copy_digest *digest, const void *bytes, size_t len)
{
	(void)XXH3_128bits_update(&digest->state, bytes, len);
}

static inline void copy_digest_end(const struct copy_digest *digest, uint8_t ret[COPY_DIGEST_SIZE])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&digest->state));
	memcpy(ret, canonical.digest, COPY_DIGEST_SIZE);
}
