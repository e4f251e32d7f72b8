/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A front-end and a driver for tests of the vsock back-end: real guest memory (a memfd), real
 * rings, a real control socket, all in the test's process. The test plays the VMM and the guest's
 * driver, and moves the device with mock_run().
 */
#pragma once

#include "tests/unit/vsockd_driver.h"

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
	assert_int_equal(uds_listen(m->uds, &fd), 0);
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
