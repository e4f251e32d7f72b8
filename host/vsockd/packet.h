/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The packet header of a virtio socket device (virtio 1.2, 5.10.6) in host byte order, and its two
 * conversions. On the ring every field is little-endian.
 */
#pragma once

#include <endian.h>
#include <stdint.h>

#define CID_HOST UINT64_C(2)

enum packet_type { PACKET_STREAM = 1, PACKET_SEQPACKET = 2 };

enum packet_op {
	OP_INVALID = 0,
	OP_REQUEST = 1,
	OP_RESPONSE = 2,
	OP_RST = 3,
	OP_SHUTDOWN = 4,
	OP_RW = 5,
	OP_CREDIT_UPDATE = 6,
	OP_CREDIT_REQUEST = 7,
};

/* Flags of OP_SHUTDOWN, from the sender's point of view. */
#define SHUTDOWN_RECV 1U /* will receive no more */
#define SHUTDOWN_SEND 2U /* will send no more */
#define SHUTDOWN_BOTH (SHUTDOWN_RECV | SHUTDOWN_SEND)

struct packet {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
} __attribute__((packed));

#define PACKET_SIZE 44U
_Static_assert(sizeof(struct packet) == PACKET_SIZE, "the header has 44 bytes on the wire");

/* The largest payload of one packet, as Linux has it. */
#define PACKET_PAYLOAD_MAX 65536U

/* Converts in place from the ring's byte order to the host's. */
static inline void packet_from_le(struct packet *p)
{
	p->src_cid = le64toh(p->src_cid);
	p->dst_cid = le64toh(p->dst_cid);
	p->src_port = le32toh(p->src_port);
	p->dst_port = le32toh(p->dst_port);
	p->len = le32toh(p->len);
	p->type = le16toh(p->type);
	p->op = le16toh(p->op);
	p->flags = le32toh(p->flags);
	p->buf_alloc = le32toh(p->buf_alloc);
	p->fwd_cnt = le32toh(p->fwd_cnt);
}

/* Converts in place from the host's byte order to the ring's. */
static inline void packet_to_le(struct packet *p)
{
	/* A byte swap is its own inverse. */
	packet_from_le(p);
}
