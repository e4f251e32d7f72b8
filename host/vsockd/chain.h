/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One descriptor chain as a list of memory pieces. Every descriptor is copied before it is looked
 * at, an indirect table as a whole; the walk is bounded by the ring's and the table's size.
 */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "host/vsockd/memory.h"
#include "host/vsockd/ring.h"

/* Descriptors in an indirect table, and pieces in a chain, at most. */
#define CHAIN_MAX 1024U

enum chain_side {
	CHAIN_FROM_GUEST, /* readable descriptors */
	CHAIN_TO_GUEST,   /* writable descriptors */
};

struct chain {
	uint16_t head;
	uint16_t slots; /* descriptors of the ring itself that it holds */
	unsigned count; /* pieces */
	uint64_t len;   /* bytes in them */
};

/* Takes the next chain off the ring and puts its pieces of the one side into iov[max]; descriptors
 * of the other side are passed over. A chain to the guest that has more pieces is cut short (the
 * device may use part of a buffer); one from the guest breaks the ring. Only after
 * ring_available() > 0. 0, or -EBADMSG with the ring broken. */
int chain_take(struct ring *ring, struct memory *memory, enum chain_side side, struct iovec *iov,
	unsigned max, struct chain *ret_chain);

/* Copies len bytes from the first pieces to dst. Only with len <= the pieces' sum. */
void pieces_read(const struct iovec *iov, void *dst, size_t len);

/* Copies len bytes from src into the first pieces. Only with len <= the pieces' sum. */
void pieces_write(const struct iovec *iov, const void *src, size_t len);

/* Puts the part [skip, skip + len) of the pieces in[] into out[max]; both may be the same array.
 * Returns the number of pieces; they may hold fewer bytes than len. */
unsigned pieces_cut(const struct iovec *in, unsigned count, size_t skip, size_t len,
	struct iovec *out, unsigned max);
