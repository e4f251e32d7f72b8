/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A front-end and a driver for tests of the vsock back-end: real guest memory (a memfd), real
 * rings, a real control socket, all in the test's process. The test plays the VMM and the guest's
 * driver, and moves the device with mock_run().
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/vsockd/control.h"
#include "host/vsockd/device.h"
#include "host/vsockd/listener.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define MOCK_CID   UINT64_C(42)
#define MOCK_NUM   64U
#define MOCK_GPA   UINT64_C(0x40000000)
#define MOCK_UVA   UINT64_C(0x7f1200000000)
#define MOCK_SIZE  (4U << 20)
#define MOCK_ROOM  4096U /* payload of a receive buffer */
#define MOCK_RING  0x8000U
#define MOCK_AVAIL 0x1000U
#define MOCK_USED  0x2000U
#define MOCK_RX    0x20000U  /* receive buffers */
#define MOCK_TX    0x100000U /* transmit buffers */
#define MOCK_SLOT  0x11000U  /* of one transmit buffer */
#define MOCK_SLOTS 32U

struct mock_ring {
	struct ring_desc *desc;
	uint16_t *avail; /* flags, idx, ring, used_event */
	uint16_t *used;
	uint16_t avail_idx; /* next to write */
	uint16_t used_idx;  /* next to read */
	uint16_t base;      /* what SET_VRING_BASE says */
	int kick, call;
};

struct mock {
	struct device device;
	struct device_options options;
	uint64_t features;
	int front; /* the VMM's end */
	int memfd;
	uint8_t *memory;
	struct mock_ring rings[2];
	unsigned next_tx;
	char dir[64];
	char uds[96];
};

/* What the guest received. */
struct mock_packet {
	struct packet header;
	uint8_t payload[MOCK_ROOM];
};

static inline void mock_run(struct mock *m)
{
	for (int i = 0; i < 12; i++)
		assert_int_equal(device_step(&m->device, 0), 0);
}

/* Lets time pass for the device as well. */
static inline void mock_wait(struct mock *m, int ms)
{
	uint64_t end = monotonic_ns() + (uint64_t)ms * NSEC_PER_MSEC;

	do
		assert_int_equal(device_step(&m->device, 5), 0);
	while (monotonic_ns() < end);
}

/* ---- the VMM ---- */

static inline void mock_say_flags(struct mock *m, uint32_t request, uint32_t flags,
	const void *payload, uint32_t size, const int *fds, unsigned fd_count)
{
	struct vhost_user_header header = {request, flags, size};
	struct iovec iov[2] = {{&header, sizeof(header)}, {(void *)payload, size}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (fd_count > 0) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(m->front, &msg, MSG_NOSIGNAL), sizeof(header) + size);
	mock_run(m);
}

static inline void mock_say(struct mock *m, uint32_t request, const void *payload, uint32_t size)
{
	mock_say_flags(m, request, VHOST_FLAG_VERSION, payload, size, NULL, 0);
}

/* The reply to the last message; the size of its payload, -1 when there is none, -2 at the end. */
static inline int mock_reply(struct mock *m, uint32_t request, void *payload, size_t size)
{
	struct vhost_user_header header;
	ssize_t n = recv(m->front, &header, sizeof(header), MSG_DONTWAIT);

	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? -2 : -1;
	assert_int_equal(n, sizeof(header));
	assert_int_equal(header.request, request);
	assert_int_equal(header.flags, VHOST_FLAG_VERSION | VHOST_FLAG_REPLY);
	assert_true(header.size <= size);
	if (header.size > 0)
		assert_int_equal(recv(m->front, payload, header.size, MSG_DONTWAIT), header.size);
	return (int)header.size;
}

/* Says something that is to be acknowledged; returns the acknowledgement's value. */
static inline uint64_t mock_ask(struct mock *m, uint32_t request, const void *payload,
	uint32_t size, const int *fds, unsigned fd_count)
{
	uint64_t value = UINT64_MAX;

	mock_say_flags(m, request, VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY, payload, size, fds,
		fd_count);
	assert_int_equal(mock_reply(m, request, &value, sizeof(value)), sizeof(value));
	return value;
}

static inline uint64_t mock_get(struct mock *m, uint32_t request)
{
	uint64_t value = 0;

	mock_say(m, request, NULL, 0);
	assert_int_equal(mock_reply(m, request, &value, sizeof(value)), sizeof(value));
	return value;
}

static inline void mock_set(struct mock *m, uint32_t request, uint64_t value)
{
	mock_say(m, request, &value, sizeof(value));
}

static inline void mock_set_state(struct mock *m, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_vring_state state = {index, num};

	mock_say(m, request, &state, sizeof(state));
}

static inline uint32_t mock_get_base(struct mock *m, uint32_t index)
{
	struct vhost_user_vring_state state = {index, 0};

	mock_say(m, VHOST_GET_VRING_BASE, &state, sizeof(state));
	assert_int_equal(mock_reply(m, VHOST_GET_VRING_BASE, &state, sizeof(state)), sizeof(state));
	return state.num;
}

static inline struct vhost_user_vring_addr mock_addr(uint32_t index)
{
	uint64_t base = MOCK_UVA + (uint64_t)index * MOCK_RING;

	return (struct vhost_user_vring_addr){
		.index = index, .desc = base, .avail = base + MOCK_AVAIL, .used = base + MOCK_USED};
}

static inline void mock_set_memory(struct mock *m)
{
	struct vhost_user_mem_table table = {
		.count = 1, .regions = {{MOCK_GPA, MOCK_SIZE, MOCK_UVA, 0}}};

	assert_int_equal(mock_ask(m, VHOST_SET_MEM_TABLE, &table, 8 + sizeof(table.regions[0]),
				 &m->memfd, 1),
		0);
}

/* What QEMU says for a ring at DRIVER_OK, except ENABLE. */
static inline void mock_set_ring(struct mock *m, uint32_t index)
{
	struct vhost_user_vring_addr addr = mock_addr(index);
	struct mock_ring *ring = &m->rings[index];
	uint64_t value = index;

	mock_set_state(m, VHOST_SET_VRING_NUM, index, MOCK_NUM);
	mock_set_state(m, VHOST_SET_VRING_BASE, index, ring->base);
	mock_say(m, VHOST_SET_VRING_ADDR, &addr, sizeof(addr));
	mock_say_flags(m, VHOST_SET_VRING_KICK, VHOST_FLAG_VERSION, &value, 8, &ring->kick, 1);
	mock_say_flags(m, VHOST_SET_VRING_CALL, VHOST_FLAG_VERSION, &value, 8, &ring->call, 1);
}

static inline void mock_start(struct mock *m)
{
	mock_set(m, VHOST_SET_FEATURES, m->features);
	mock_set_memory(m);
	for (uint32_t i = 0; i < 2; i++)
		mock_set_ring(m, i);
	for (uint32_t i = 0; i < 2; i++)
		mock_set_state(m, VHOST_SET_VRING_ENABLE, i, 1);
}

static inline void mock_stop(struct mock *m)
{
	for (uint32_t i = 0; i < 2; i++)
		mock_set_state(m, VHOST_SET_VRING_ENABLE, i, 0);
	for (uint32_t i = 0; i < 2; i++)
		m->rings[i].base = (uint16_t)mock_get_base(m, i);
}

/* ---- the driver ---- */

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
	assert_int_equal(listener_open(path, &fd), 0);
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

/* ---- beginning and end ---- */

/* A device with a front-end that has said what comes before DRIVER_OK. */
static inline void mock_attach(struct mock *m)
{
	uint64_t value;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	m->front = pair[0];
	assert_int_equal(frontend_attach(&m->device, pair[1]), 0);
	value = mock_get(m, VHOST_GET_FEATURES);
	assert_int_equal(value, CONTROL_FEATURES);
	assert_int_equal(mock_get(m, VHOST_GET_PROTOCOL_FEATURES), CONTROL_PROTOCOL_FEATURES);
	mock_set(m, VHOST_SET_PROTOCOL_FEATURES, CONTROL_PROTOCOL_FEATURES);
	assert_int_equal(mock_get(m, VHOST_GET_QUEUE_NUM), 2);
	mock_say(m, VHOST_SET_OWNER, NULL, 0);
}

static inline void mock_init(struct mock *m, unsigned max_connections)
{
	int fd;

	memset(m, 0, sizeof(*m));
	log_open("test", LOG_LEVEL_ERROR);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)strcpy(m->dir, "/tmp/vsockd-XXXXXX");
	assert_non_null(mkdtemp(m->dir));
	(void)snprintf(m->uds, sizeof(m->uds), "%s/vm", m->dir);
	m->features = CONTROL_FEATURES;
	m->options = (struct device_options){
		.cid = MOCK_CID,
		.uds = m->uds,
		.allow = {.all = true},
		.max_connections = max_connections,
	};
	m->memfd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(m->memfd >= 0 && ftruncate(m->memfd, MOCK_SIZE) == 0);
	m->memory = mmap(NULL, MOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);
	assert_ptr_not_equal(m->memory, MAP_FAILED);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *at = m->memory + (size_t)i * MOCK_RING;

		m->rings[i].desc = (struct ring_desc *)at;
		m->rings[i].avail = (uint16_t *)(at + MOCK_AVAIL);
		m->rings[i].used = (uint16_t *)(at + MOCK_USED);
		m->rings[i].kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		m->rings[i].call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	assert_int_equal(device_init(&m->device, &m->options), 0);
	assert_int_equal(listener_open(m->uds, &fd), 0);
	assert_int_equal(proxy_open(&m->device, fd), 0);
	mock_attach(m);
}

/* A running device whose receive queue is full of buffers. */
static inline void mock_open(struct mock *m)
{
	mock_init(m, 1023);
	mock_start(m);
	mock_post_all(m);
}

static inline void mock_close(struct mock *m)
{
	char command[96];

	(void)close(m->front);
	device_done(&m->device);
	assert_int_equal(m->device.flows.count, 0);
	assert_int_equal(m->device.flows.pool.used, 0);
	(void)munmap(m->memory, MOCK_SIZE);
	(void)close(m->memfd);
	for (unsigned i = 0; i < 2; i++) {
		(void)close(m->rings[i].kick);
		(void)close(m->rings[i].call);
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", m->dir);
	assert_int_equal(system(command), 0);
}

/* The device passes a new stream's bytes both ways: nothing that came before hurt it. */
static inline void mock_assert_alive(struct mock *m)
{
	struct mock_packet packet;
	uint32_t port;
	char text[8];
	int fd;

	fd = mock_stream(m, &port);
	assert_int_equal(write(fd, "ping", 4), 4);
	mock_run(m);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.op, OP_RW);
	assert_memory_equal(packet.payload, "ping", 4);
	mock_send_data(m, 1000, port, "pong", 4);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 4);
	assert_memory_equal(text, "pong", 4);
	mock_send(m, 1000, port, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
}

/* A test with a running device `m`. */
#define MOCK_TEST(name)                                                                            \
	static void name##_body(struct mock *m);                                                   \
	static void name(void **state)                                                             \
	{                                                                                          \
		static struct mock mock;                                                           \
                                                                                                   \
		(void)state;                                                                       \
		mock_open(&mock);                                                                  \
		name##_body(&mock);                                                                \
		mock_close(&mock);                                                                 \
	}                                                                                          \
	static void name##_body(struct mock *m)
