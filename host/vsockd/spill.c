/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/spill.h"

#include <errno.h>
#include <sys/socket.h>

int spill_append(struct spill *spill, struct spill_pool *pool, const struct iovec *iov,
	unsigned count, size_t skip)
{
	size_t before = spill->buffer.size;
	int r = 0;

	for (unsigned i = 0; i < count && r == 0; i++) {
		size_t from = skip < iov[i].iov_len ? skip : iov[i].iov_len;
		const uint8_t *at = (const uint8_t *)iov[i].iov_base + from;

		skip -= from;
		r = buffer_append(&spill->buffer, at, iov[i].iov_len - from);
	}
	pool->used += spill->buffer.size - before;
	return pool->used > pool->limit ? -ENOMEM : r;
}

ssize_t spill_flush(struct spill *spill, struct spill_pool *pool, int fd)
{
	ssize_t n = send(
		fd, buffer_front(&spill->buffer), spill_len(spill), MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return -errno;
	if ((size_t)n == spill_len(spill))
		spill_drop(spill, pool);
	else
		buffer_consume(&spill->buffer, (size_t)n);
	return n;
}

void spill_drop(struct spill *spill, struct spill_pool *pool)
{
	pool->used -= spill->buffer.size;
	buffer_clear(&spill->buffer);
}
