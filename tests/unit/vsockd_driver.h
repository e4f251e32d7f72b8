/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's driver of the mock, and the host's clients and servers. See vsockd_mock.h. */
#pragma once

#include "tests/unit/vsockd_vmm.h"

static inline void mock_kick(struct mock *m, uint32_t index)
{
	uint64_t one = 1;

	assert_int_equal(write(m->rings[index].kick, &one, sizeof(one)), sizeof(one));
	mock_run(m);
}

static inline bool mock_called(struct mock *m, uint32_t index)
{
	uint64_t count;

	return read(m->rings[index].call, &count, sizeof(count)) == sizeof(count);
}

static inline void mock_put(struct mock *m, uint32_t index, uint16_t head)
{
	struct mock_ring *ring = &m->rings[index];

	ring->avail[2 + ring->avail_idx % MOCK_NUM] = head;
	ring->avail_idx++;
	__atomic_store_n(&ring->avail[1], ring->avail_idx, __ATOMIC_RELEASE);
}

/* Makes a receive buffer of descriptor i available: one piece, header and room. */
static inline void mock_post(struct mock *m, uint16_t i)
{
	m->rings[RING_RX].desc[i] = (struct ring_desc){
		.addr = MOCK_GPA + MOCK_RX + i * (PACKET_SIZE + MOCK_ROOM),
		.len = PACKET_SIZE + MOCK_ROOM,
		.flags = DESC_WRITE,
	};
	mock_put(m, RING_RX, i);
}

static inline void mock_post_all(struct mock *m)
{
	for (uint16_t i = 0; i < MOCK_NUM; i++)
		mock_post(m, i);
	mock_kick(m, RING_RX);
}

/* Takes the next packet from the receive queue, and posts its buffer again. False: there is none.
 */
static inline bool mock_next(struct mock *m, struct mock_packet *ret_packet)
{
	struct mock_ring *ring = &m->rings[RING_RX];
	struct ring_used_elem elem;
	uint8_t *at;

	if (__atomic_load_n(&ring->used[1], __ATOMIC_ACQUIRE) == ring->used_idx)
		return false;
	memcpy(&elem, &ring->used[2 + (size_t)(ring->used_idx % MOCK_NUM) * 4], sizeof(elem));
	ring->used_idx++;
	assert_true(elem.id < MOCK_NUM && elem.len >= PACKET_SIZE);
	at = m->memory + MOCK_RX + (size_t)elem.id * (PACKET_SIZE + MOCK_ROOM);
	memcpy(&ret_packet->header, at, PACKET_SIZE);
	packet_from_le(&ret_packet->header);
	assert_int_equal(elem.len, PACKET_SIZE + ret_packet->header.len);
	assert_int_equal(ret_packet->header.src_cid, CID_HOST);
	assert_int_equal(ret_packet->header.dst_cid, MOCK_CID);
	memcpy(ret_packet->payload, at + PACKET_SIZE, ret_packet->header.len);
	mock_post(m, (uint16_t)elem.id);
	return true;
}

/* The next packet must be this operation. */
static inline struct packet mock_expect(struct mock *m, enum packet_op op)
{
	struct mock_packet packet;

	mock_run(m);
	if (!mock_next(m, &packet))
		fail_msg("no packet where operation %d was expected", (int)op);
	assert_int_equal(packet.header.op, op);
	return packet.header;
}

static inline void mock_expect_none(struct mock *m)
{
	struct mock_packet packet;

	mock_run(m);
	if (mock_next(m, &packet))
		fail_msg("an unexpected packet, operation %d", packet.header.op);
}

/* Writes a chain of header and payload into the transmit queue, without a kick. */
static inline void mock_queue(
	struct mock *m, const struct packet *header, const void *payload, uint32_t bytes)
{
	struct mock_ring *ring = &m->rings[RING_TX];
	unsigned slot = m->next_tx++ % MOCK_SLOTS;
	uint32_t offset = MOCK_TX + slot * MOCK_SLOT;
	uint16_t head = (uint16_t)(slot * 2);
	struct packet le = *header;

	packet_to_le(&le);
	memcpy(m->memory + offset, &le, PACKET_SIZE);
	ring->desc[head] = (struct ring_desc){.addr = MOCK_GPA + offset, .len = PACKET_SIZE};
	if (bytes > 0) {
		memcpy(m->memory + offset + PACKET_SIZE, payload, bytes);
		ring->desc[head].flags = DESC_NEXT;
		ring->desc[head].next = (uint16_t)(head + 1);
		ring->desc[head + 1] =
			(struct ring_desc){.addr = MOCK_GPA + offset + PACKET_SIZE, .len = bytes};
	}
	mock_put(m, RING_TX, head);
}

static inline struct packet mock_header(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct packet){
		.src_cid = MOCK_CID,
		.dst_cid = CID_HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = PACKET_STREAM,
		.op = op,
		.buf_alloc = 256 * 1024,
	};
}

static inline void mock_send(struct mock *m, uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	struct packet header = mock_header(guest_port, host_port, op);

	mock_queue(m, &header, NULL, 0);
	mock_kick(m, RING_TX);
}

static inline void mock_send_flags(
	struct mock *m, uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
	struct packet header = mock_header(guest_port, host_port, op);

	header.flags = flags;
	mock_queue(m, &header, NULL, 0);
	mock_kick(m, RING_TX);
}

static inline void mock_send_credit(struct mock *m, uint32_t guest_port, uint32_t host_port,
	uint32_t buf_alloc, uint32_t fwd_cnt)
{
	struct packet header = mock_header(guest_port, host_port, OP_CREDIT_UPDATE);

	header.buf_alloc = buf_alloc;
	header.fwd_cnt = fwd_cnt;
	mock_queue(m, &header, NULL, 0);
	mock_kick(m, RING_TX);
}

static inline void mock_send_data(
	struct mock *m, uint32_t guest_port, uint32_t host_port, const void *data, uint32_t bytes)
{
	struct packet header = mock_header(guest_port, host_port, OP_RW);

	header.len = bytes;
	mock_queue(m, &header, data, bytes);
	mock_kick(m, RING_TX);
}

/* ---- the host's clients and servers ---- */

static inline int mock_connect_path(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* A client that has written text. */
static inline int mock_client(struct mock *m, const char *text)
{
	int fd = mock_connect_path(m->uds);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	mock_run(m);
	return fd;
}

/* Reads what is there: its length, 0 at the end, -1 when there is nothing. */
static inline ssize_t mock_read(int fd, void *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);

	return n < 0 && errno == ECONNRESET ? 0 : n;
}

static inline void mock_assert_end(int fd)
{
	char byte;

	assert_int_equal(mock_read(fd, &byte, 1), 0);
}

static inline void mock_assert_open(int fd)
{
	char byte;

	assert_int_equal(mock_read(fd, &byte, 1), -1);
}

/* Connects a client to guest port 1000 and lets the guest accept. Returns the client; the port of
 * the host's side goes to *ret_port. */
static inline int mock_stream(struct mock *m, uint32_t *ret_port)
{
	int fd = mock_client(m, "CONNECT 1000\n");
	struct packet request = mock_expect(m, OP_REQUEST);
	char line[32] = "", want[32];

	assert_int_equal(request.dst_port, 1000);
	assert_int_equal(request.type, PACKET_STREAM);
	assert_int_equal(request.buf_alloc, CREDIT_BUF_ALLOC);
	mock_send(m, 1000, request.src_port, OP_RESPONSE);
	(void)snprintf(want, sizeof(want), "OK %u\n", request.src_port);
	assert_int_equal(mock_read(fd, line, sizeof(line) - 1), strlen(want));
	assert_string_equal(line, want);
	*ret_port = request.src_port;
	return fd;
}

/* A listener for the guest's connections to a port of the host. */
static inline int mock_listen(struct mock *m, uint32_t port)
{
	char path[108];
	int fd;

	(void)snprintf(path, sizeof(path), "%s_%u", m->uds, port);
	assert_int_equal(uds_listen(path, &fd), 0);
	return fd;
}

/* The guest connects to a port with a listener. Returns the accepted socket. */
static inline int mock_accept(struct mock *m, int listener, uint32_t guest_port, uint32_t port)
{
	int fd;

	mock_send(m, guest_port, port, OP_REQUEST);
	(void)mock_expect(m, OP_RESPONSE);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}
