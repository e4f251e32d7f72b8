/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes from the guest that the host's socket did not take: a buffer that exists only while it
 * holds something. All of a process share one pool with a limit. The bytes of one flow are bounded
 * by the credit that the guest was given.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "proto/buffer.h"

struct spill_pool {
	size_t used; /* memory, not bytes held */
	size_t limit;
};

struct spill {
	struct buffer buffer;
};

static inline size_t spill_len(const struct spill *spill)
{
	return buffer_len(&spill->buffer);
}

/* Appends the bytes of the pieces from offset skip on. 0; -ENOMEM when there is no memory or the
 * pool is at its limit: then some may have been appended, and the stream is to be reset. */
int spill_append(struct spill *spill, struct spill_pool *pool, const struct iovec *iov,
	unsigned count, size_t skip);

/* Sends what the socket takes, without blocking; gives the memory back when nothing is left.
 * Returns the bytes sent, or -errno (-EAGAIN: none). */
ssize_t spill_flush(struct spill *spill, struct spill_pool *pool, int fd);

/* Forgets the bytes. */
void spill_drop(struct spill *spill, struct spill_pool *pool);
