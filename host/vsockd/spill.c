/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/vsockd/credit.h"

#define SPILL_MIN 16384U

/* The one or two stretches that hold the len bytes from offset `from` on. */
static unsigned stretches(
	const struct spill *spill, uint32_t from, uint32_t len, struct iovec out[2])
{
	uint32_t start = (spill->head + from) & (spill->size - 1);
	uint32_t first = spill->size - start < len ? spill->size - start : len;

	out[0] = (struct iovec){.iov_base = spill->buf + start, .iov_len = first};
	out[1] = (struct iovec){.iov_base = spill->buf, .iov_len = len - first};
	return len > first ? 2 : 1;
}

static int grow(struct spill *spill, struct spill_pool *pool, size_t need)
{
	uint32_t size = spill->size ? spill->size : SPILL_MIN;
	struct iovec old[2];
	uint8_t *buf;
	unsigned n;

	while (size < need)
		size *= 2;
	if (size == spill->size)
		return 0;
	if (size > CREDIT_BUF_ALLOC || pool->used - spill->size + size > pool->limit)
		return -ENOMEM;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	if (spill->len > 0) {
		n = stretches(spill, 0, spill->len, old);
		memcpy(buf, old[0].iov_base, old[0].iov_len);
		if (n == 2)
			memcpy(buf + old[0].iov_len, old[1].iov_base, old[1].iov_len);
	}
	pool->used = pool->used - spill->size + size;
	free(spill->buf);
	spill->buf = buf;
	spill->size = size;
	spill->head = 0;
	return 0;
}

static int append(struct spill *spill, struct spill_pool *pool, const uint8_t *from, size_t len)
{
	struct iovec to[2];
	unsigned n;
	int r;

	r = grow(spill, pool, spill->len + len);
	if (r < 0)
		return r;
	n = stretches(spill, spill->len, (uint32_t)len, to);
	memcpy(to[0].iov_base, from, to[0].iov_len);
	if (n == 2)
		memcpy(to[1].iov_base, from + to[0].iov_len, to[1].iov_len);
	spill->len += (uint32_t)len;
	return 0;
}

int spill_append(struct spill *spill, struct spill_pool *pool, const struct iovec *iov,
	unsigned count, size_t skip)
{
	for (unsigned i = 0; i < count; i++) {
		int r;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		r = append(spill, pool, (const uint8_t *)iov[i].iov_base + skip,
			iov[i].iov_len - skip);
		if (r < 0)
			return r;
		skip = 0;
	}
	return 0;
}

ssize_t spill_flush(struct spill *spill, struct spill_pool *pool, int fd)
{
	struct iovec iov[2];
	struct msghdr msg = {.msg_iov = iov};
	ssize_t n;

	if (spill->len == 0)
		return 0;
	msg.msg_iovlen = stretches(spill, 0, spill->len, iov);
	n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	spill->len -= (uint32_t)n;
	spill->head = (spill->head + (uint32_t)n) & (spill->size - 1);
	if (spill->len == 0)
		spill_drop(spill, pool);
	return n;
}

void spill_drop(struct spill *spill, struct spill_pool *pool)
{
	pool->used -= spill->size;
	free(spill->buf);
	*spill = (struct spill){0};
}
