/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMM of the mock: what it is, and what it says on the control socket. See vsockd_mock.h. */
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
#include "host/vsockd/uds.h"
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
