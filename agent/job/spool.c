/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/spool.h"

#include <stdlib.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

void spool_add(struct spool *spool, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;

	if (spool->size > 0 && !spool->bytes) {
		spool->bytes = malloc(spool->size);
		if (!spool->bytes)
			spool->size = 0;
	}
	if (spool->size > 0 && len > spool->size) {
		/* Only the end of it stays. */
		spool->total += len - spool->size;
		from += len - spool->size;
		len = spool->size;
	}
	while (spool->size > 0 && len > 0) {
		size_t at = spool->total % spool->size;
		size_t n = least(len, spool->size - at);

		memcpy(spool->bytes + at, from, n);
		spool->total += n;
		from += n;
		len -= n;
	}
	spool->total += len;
}

uint64_t spool_dropped(const struct spool *spool)
{
	return spool->total > spool->size ? spool->total - spool->size : 0;
}

size_t spool_read(const struct spool *spool, uint64_t from, void *bytes, size_t room)
{
	uint8_t *to = bytes;
	size_t len = 0;

	while (room > 0 && spool->bytes && from < spool->total) {
		size_t at = from % spool->size;
		size_t n = least(room, spool->size - at);

		if (n > spool->total - from)
			n = (size_t)(spool->total - from);
		memcpy(to + len, spool->bytes + at, n);
		len += n;
		from += n;
		room -= n;
	}
	return len;
}

void spool_done(struct spool *spool)
{
	free(spool->bytes);
	*spool = (struct spool){0};
}
