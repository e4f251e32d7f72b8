/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/chain.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

struct walk {
	struct ring *ring;
	struct memory *memory;
	enum chain_side side;
	struct iovec *iov;
	unsigned max;
	struct chain *chain;
};

static void desc_from_le(struct ring_desc *desc)
{
	desc->addr = le64toh(desc->addr);
	desc->len = le32toh(desc->len);
	desc->flags = le16toh(desc->flags);
	desc->next = le16toh(desc->next);
}

static int add_piece(struct walk *walk, const struct ring_desc *desc)
{
	struct chain *chain = walk->chain;
	uint64_t addr = desc->addr;
	uint64_t left = desc->len;

	if (!!(desc->flags & DESC_WRITE) != (walk->side == CHAIN_TO_GUEST))
		return 0;
	while (left > 0) {
		void *ptr;
		size_t n = memory_at(walk->memory, addr, left, &ptr);

		if (n == 0)
			return ring_break(walk->ring, "a descriptor points outside guest memory");
		if (chain->count == walk->max) {
			if (walk->side == CHAIN_TO_GUEST)
				return 0;
			return ring_break(walk->ring, "a chain has too many pieces");
		}
		walk->iov[chain->count++] = (struct iovec){.iov_base = ptr, .iov_len = n};
		chain->len += n;
		addr += n;
		left -= n;
	}
	return 0;
}

static int walk_table(struct walk *walk, const struct ring_desc *indirect)
{
	static struct ring_desc table[CHAIN_MAX]; /* too large for a stack, and never kept */
	uint32_t count = indirect->len / (uint32_t)sizeof(table[0]);
	uint32_t at = 0;

	if (!walk->ring->indirect || (indirect->flags & DESC_NEXT))
		return ring_break(walk->ring, "an indirect table where none may be");
	if (count == 0 || count > CHAIN_MAX || indirect->len % sizeof(table[0]) != 0)
		return ring_break(walk->ring, "an indirect table of a bad length");
	if (memory_read(walk->memory, indirect->addr, table, indirect->len) < 0)
		return ring_break(walk->ring, "an indirect table outside guest memory");
	for (uint32_t steps = 0; steps < count; steps++) {
		struct ring_desc *desc = &table[at];
		int r;

		/* A loop converts a descriptor twice on a big-endian host; it ends all the same. */
		desc_from_le(desc);
		if (desc->flags & DESC_INDIRECT)
			return ring_break(walk->ring, "an indirect table in an indirect table");
		r = add_piece(walk, desc);
		if (r < 0)
			return r;
		if (!(desc->flags & DESC_NEXT))
			return 0;
		if (desc->next >= count)
			return ring_break(walk->ring, "a descriptor's next is outside its table");
		at = desc->next;
	}
	return ring_break(walk->ring, "an indirect table loops");
}

int chain_take(struct ring *ring, struct memory *memory, enum chain_side side, struct iovec *iov,
	unsigned max, struct chain *ret_chain)
{
	struct walk walk = {ring, memory, side, iov, max, ret_chain};
	int at = ring_take(ring);

	if (at < 0)
		return at;
	*ret_chain = (struct chain){.head = (uint16_t)at};
	for (uint32_t steps = 0; steps < ring->num; steps++) {
		struct ring_desc desc;
		int r;

		memory_fetch(&desc, &ring->desc[at], sizeof(desc));
		desc_from_le(&desc);
		ret_chain->slots++;
		if (desc.flags & DESC_INDIRECT)
			return walk_table(&walk, &desc);
		r = add_piece(&walk, &desc);
		if (r < 0)
			return r;
		if (!(desc.flags & DESC_NEXT))
			return 0;
		if (desc.next >= ring->num)
			return ring_break(ring, "a descriptor's next is outside the ring");
		at = desc.next;
	}
	return ring_break(ring, "a chain loops");
}

void pieces_read(const struct iovec *iov, void *dst, size_t len)
{
	uint8_t *to = dst;

	for (; len > 0; iov++) {
		size_t n = iov->iov_len < len ? iov->iov_len : len;

		memory_fetch(to, iov->iov_base, n);
		to += n;
		len -= n;
	}
}

void pieces_write(const struct iovec *iov, const void *src, size_t len)
{
	const uint8_t *from = src;

	for (; len > 0; iov++) {
		size_t n = iov->iov_len < len ? iov->iov_len : len;

		memcpy(iov->iov_base, from, n);
		from += n;
		len -= n;
	}
}

unsigned pieces_cut(const struct iovec *in, unsigned count, size_t skip, size_t len,
	struct iovec *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count && len > 0 && n < max; i++) {
		struct iovec piece = in[i];

		if (skip >= piece.iov_len) {
			skip -= piece.iov_len;
			continue;
		}
		piece.iov_base = (uint8_t *)piece.iov_base + skip;
		piece.iov_len -= skip;
		skip = 0;
		if (piece.iov_len > len)
			piece.iov_len = len;
		len -= piece.iov_len;
		out[n++] = piece;
	}
	return n;
}
