/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes from the guest that the host's socket did not take: a circular buffer that exists only
 * while it holds something. All buffers of a process share one pool with a limit.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct spill_pool {
	size_t used;
	size_t limit;
};

struct spill {
	uint8_t *buf;
	uint32_t size; /* a power of two, or 0 */
	uint32_t head;
	uint32_t len;
};

/* Appends the bytes of the pieces from offset skip on. 0; -ENOMEM when there is no memory or the
 * pool is at its limit (then some of the bytes may have been appended, and the stream is to be
 * reset). */
int spill_append(struct spill *spill, struct spill_pool *pool, const struct iovec *iov,
	unsigned count, size_t skip);

/* Sends what the socket takes, without blocking; gives the buffer back when it is empty. Returns
 * the bytes sent, or -errno (-EAGAIN: none). */
ssize_t spill_flush(struct spill *spill, struct spill_pool *pool, int fd);

/* Forgets the bytes. */
void spill_drop(struct spill *spill, struct spill_pool *pool);
