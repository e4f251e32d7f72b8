/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Credit of one stream, both ways (virtio 1.2, 5.10.6.3). All counters run freely modulo 2^32 and
 * count payload bytes only.
 *
 * Towards the guest two bounds hold: bytes (what the guest's buf_alloc leaves free) and packets.
 * Linux since 6.12 charges its own overhead for each queued packet and resets a stream that sends
 * many small ones, so packets not yet acknowledged are counted as well: the value of tx_cnt after
 * each of them stands in a queue until fwd_cnt passes it.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* What every stream advertises for bytes from the guest. */
#define CREDIT_BUF_ALLOC UINT32_C(0x40000) /* 256 KiB */

/* No more than this is ever in flight towards the guest, whatever buf_alloc it states. */
#define CREDIT_WINDOW_MAX (1024U * 1024)

/* Less room than this is not used while more is on its way: it is what Linux has in one buffer. */
#define CREDIT_SMALL 4096U

/* One unacknowledged packet for each of this many bytes of the guest's buffer. */
#define CREDIT_BYTES_PER_PACKET 1024U
#define CREDIT_PACKETS_MAX      256U

struct credit {
	/* towards the guest */
	uint32_t tx_cnt;         /* sent */
	uint32_t peer_fwd_cnt;   /* acknowledged */
	uint32_t peer_buf_alloc; /* the guest's whole buffer */
	uint16_t sent_head, sent_len;
	uint32_t sent[CREDIT_PACKETS_MAX]; /* tx_cnt after each unacknowledged packet */
	/* from the guest */
	uint32_t rx_cnt;       /* received */
	uint32_t fwd_cnt;      /* handed on */
	uint32_t told_fwd_cnt; /* what the guest last heard of fwd_cnt */
};

/* Takes in what a packet from the guest says. Values that lag behind are harmless (a guest with
 * several processors may reorder its packets); a fwd_cnt ahead of what was sent is -EPROTO. */
static inline int credit_hear(struct credit *c, uint32_t buf_alloc, uint32_t fwd_cnt)
{
	uint32_t in_flight = c->tx_cnt - c->peer_fwd_cnt;

	c->peer_buf_alloc = buf_alloc;
	if (fwd_cnt - c->peer_fwd_cnt > in_flight)
		return c->peer_fwd_cnt - fwd_cnt <= INT32_MAX ? 0 : -EPROTO;
	c->peer_fwd_cnt = fwd_cnt;
	in_flight = c->tx_cnt - fwd_cnt;
	while (c->sent_len > 0 && c->tx_cnt - c->sent[c->sent_head] >= in_flight) {
		c->sent_head = (uint16_t)((c->sent_head + 1) % CREDIT_PACKETS_MAX);
		c->sent_len--;
	}
	return 0;
}

/* Bytes that may be sent to the guest now. */
static inline uint32_t credit_window(const struct credit *c)
{
	uint32_t used = c->tx_cnt - c->peer_fwd_cnt;
	uint32_t window =
		c->peer_buf_alloc < CREDIT_WINDOW_MAX ? c->peer_buf_alloc : CREDIT_WINDOW_MAX;

	/* The guest may have made its buffer smaller than what is in flight. */
	return used >= window ? 0 : window - used;
}

/* The same, but 0 while it is so little that waiting for more is better: acknowledgements of what
 * is in flight will come. */
static inline uint32_t credit_worthwhile(const struct credit *c)
{
	uint32_t window = credit_window(c);
	bool idle = c->tx_cnt == c->peer_fwd_cnt;

	return idle || window >= CREDIT_SMALL || window >= c->peer_buf_alloc / 2 ? window : 0;
}

/* Packets with a payload that may be sent to the guest now. */
static inline unsigned credit_packets(const struct credit *c)
{
	uint32_t bound = c->peer_buf_alloc / CREDIT_BYTES_PER_PACKET;

	bound = bound > CREDIT_PACKETS_MAX ? CREDIT_PACKETS_MAX : bound < 1 ? 1 : bound;
	return c->sent_len >= bound ? 0 : bound - c->sent_len;
}

/* Counts one packet of len > 0 bytes, within both bounds. */
static inline void credit_sent(struct credit *c, uint32_t len)
{
	c->tx_cnt += len;
	c->sent[(c->sent_head + c->sent_len) % CREDIT_PACKETS_MAX] = c->tx_cnt;
	c->sent_len++;
}

/* Takes len bytes from the guest. -ENOBUFS when it was not given that much credit. */
static inline int credit_take(struct credit *c, uint32_t len)
{
	uint32_t used = c->rx_cnt - c->told_fwd_cnt;

	if (used > CREDIT_BUF_ALLOC || len > CREDIT_BUF_ALLOC - used)
		return -ENOBUFS;
	c->rx_cnt += len;
	return 0;
}

/* True when the guest should hear of freed space: half its buffer is gone in its eyes, and free in
 * ours. */
static inline bool credit_owed(const struct credit *c)
{
	return c->fwd_cnt - c->told_fwd_cnt >= CREDIT_BUF_ALLOC / 2;
}
