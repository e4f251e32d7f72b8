/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Data of streams, both ways: slow readers, credit, fairness, and streams of the guest. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_bytes.h"

MOCK_TEST(slow_host_client_gets_every_byte)
{
	struct mock_packet packet;
	uint32_t port, sent;
	int fd = mock_stream(m, &port);

	for (unsigned rounds = 0; rounds < 5; rounds++) {
		sent = fill_host(m, port);
		assert_true(m->device.flows.pool.used > 0);
		assert_true(m->device.flows.pool.used <= 2 * CREDIT_BUF_ALLOC);
		drain_host(m, fd, sent);
		assert_int_equal(m->device.flows.pool.used, 0);
		/* What was freed is told without being asked for. */
		assert_true(mock_next(m, &packet));
		assert_int_equal(packet.header.op, OP_CREDIT_UPDATE);
		mock_send(m, 1000, port, OP_RST);
		mock_assert_end(fd);
		(void)close(fd);
		while (mock_next(m, &packet))
			;
		fd = mock_stream(m, &port);
	}
	(void)close(fd);
}

/* The socket takes the first pieces of a packet and not the next ones. */
MOCK_TEST(bytes_left_over_begin_at_a_piece)
{
	struct mock_ring *ring = &m->rings[RING_TX];
	uint32_t port, sent = 0, offset = MOCK_TX + 30 * MOCK_SLOT;
	int fd = mock_stream(m, &port);
	struct packet header = mock_header(1000, port, OP_RW);

	header.len = 65536;
	packet_to_le(&header);
	memcpy(m->memory + offset, &header, PACKET_SIZE);
	for (unsigned i = 0; i < 4; i++)
		memcpy(m->memory + offset + PACKET_SIZE + i * 16384U, blob(), 16384);
	ring->desc[0] = (struct ring_desc){MOCK_GPA + offset, PACKET_SIZE, DESC_NEXT, 1};
	for (uint16_t i = 1; i <= 32; i++)
		ring->desc[i] =
			(struct ring_desc){MOCK_GPA + offset + PACKET_SIZE + (i - 1) * 2048U, 2048,
				i < 32 ? DESC_NEXT : 0, (uint16_t)(i + 1)};
	while (m->device.flows.pool.used == 0 && sent < 1U << 20) {
		mock_put(m, RING_TX, 0);
		mock_kick(m, RING_TX);
		sent += 65536;
	}
	assert_int_equal(m->device.flows.count, 1);
	drain_host(m, fd, sent);
	(void)close(fd);
}

MOCK_TEST(one_slow_client_does_not_hold_up_another)
{
	uint32_t slow_port, port;
	int slow = mock_stream(m, &slow_port);
	uint32_t sent = fill_host(m, slow_port);
	static uint8_t got[4096];
	int fd = mock_stream(m, &port);

	for (unsigned i = 0; i < 100; i++) {
		struct mock_packet packet;

		mock_send_data(m, 1000, port, blob(), 4096);
		assert_int_equal(mock_read(fd, got, sizeof(got)), 4096);
		while (mock_next(m, &packet))
			assert_int_equal(packet.header.src_port, port);
	}
	drain_host(m, slow, sent);
	(void)close(slow);
	(void)close(fd);
}

MOCK_TEST(pool_limit_resets_the_flow_that_meets_it)
{
	struct mock_packet packet = {0};
	uint32_t port;
	int fd = mock_stream(m, &port);

	m->device.flows.pool.limit = 65536;
	for (unsigned i = 0; i < 40 && packet.header.op != OP_RST; i++) {
		mock_send_data(m, 1000, port, blob(), 16384);
		while (packet.header.op != OP_RST && mock_next(m, &packet))
			;
	}
	assert_int_equal(packet.header.op, OP_RST);
	assert_int_equal(m->device.flows.count, 0);
	assert_int_equal(m->device.flows.pool.used, 0);
	mock_assert_alive(m);
	(void)close(fd);
}

/* ---- towards the guest ---- */

MOCK_TEST(small_writes_become_one_packet)
{
	struct mock_packet packet;
	uint32_t port;
	int fd = mock_stream(m, &port);

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(fd, blob() + i * 50, 50), 50);
	mock_run(m);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.len, 500);
	assert_memory_equal(packet.payload, blob(), 500);
	mock_expect_none(m);
	(void)close(fd);
}

MOCK_TEST(unread_packets_are_bounded)
{
	struct mock_packet packet;
	uint32_t port, bytes = 0;
	unsigned data = 0, asked = 0;
	int fd = mock_stream(m, &port);

	for (unsigned i = 0; i < 456; i++) {
		assert_int_equal(write(fd, "x", 1), 1);
		mock_kick(m, RING_RX);
		while (mock_next(m, &packet)) {
			if (packet.header.op == OP_CREDIT_REQUEST)
				asked++;
			if (packet.header.op != OP_RW)
				continue;
			data++;
			bytes += packet.header.len;
		}
	}
	assert_int_equal(data, 256); /* for 256 KiB */
	assert_int_equal(bytes, 256);
	assert_true(asked >= 1);
	/* The question is repeated, ever less often. */
	asked = 0;
	mock_wait(m, 200);
	while (mock_next(m, &packet))
		asked += packet.header.op == OP_CREDIT_REQUEST;
	assert_in_range(asked, 1, 10);
	mock_send_credit(m, 1000, port, 256 * 1024, 256);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.op, OP_RW);
	assert_int_equal(packet.header.len, 200); /* the rest in one */
	(void)close(fd);
}

MOCK_TEST(full_window_asks_once_and_late)
{
	struct mock_packet packet;
	uint32_t port, bytes = 0;
	unsigned asked = 0;
	int fd = mock_stream(m, &port);

	mock_send_credit(m, 1000, port, 8192, 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(fd, blob(), 4096), 4096);
	mock_run(m);
	while (mock_next(m, &packet)) {
		assert_int_equal(packet.header.op, OP_RW);
		bytes += packet.header.len;
	}
	assert_int_equal(bytes, 8192);
	mock_wait(m, 200);
	while (mock_next(m, &packet))
		asked += packet.header.op == OP_CREDIT_REQUEST;
	assert_int_equal(asked, 1);
	mock_send_credit(m, 1000, port, 8192, 4096);
	assert_int_equal(mock_expect(m, OP_RW).len, 4096);
	mock_expect_none(m);
	(void)close(fd);
}

MOCK_TEST(turns_are_fair)
{
	struct mock_packet packet;
	uint32_t ports[5], bytes[5] = {0};
	int fds[5];

	for (unsigned i = 0; i < 5; i++)
		fds[i] = mock_stream(m, &ports[i]);
	/* The first never reads; the others have more than the ring holds. */
	mock_send_credit(m, 1000, ports[0], 0, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(write(fds[i], blob(), 65536), 65536);
	mock_run(m);
	for (unsigned rounds = 0; rounds < 3; rounds++) {
		unsigned taken = 0;

		while (taken < 40 && mock_next(m, &packet)) {
			taken++;
			for (unsigned i = 0; i < 5; i++)
				if (packet.header.src_port == ports[i])
					bytes[i] += packet.header.len;
		}
		mock_kick(m, RING_RX);
	}
	assert_int_equal(bytes[0], 0);
	for (unsigned i = 1; i < 5; i++)
		assert_true(bytes[i] >= 65536);
	for (unsigned i = 0; i < 5; i++)
		(void)close(fds[i]);
}

static void streams_wait_for_buffers(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	struct mock_packet packet;
	uint32_t port;
	int fd;

	(void)state;
	mock_init(m, 16);
	mock_start(m);
	fd = mock_client(m, "CONNECT 1000\nhello");
	assert_false(rx_pending(&m->device)); /* it waits, and does not spin */
	mock_post(m, 0);
	mock_kick(m, RING_RX);
	assert_true(mock_next(m, &packet));
	port = packet.header.src_port;
	mock_kick(m, RING_RX);
	mock_send(m, 1000, port, OP_RESPONSE);
	assert_int_equal(mock_expect(m, OP_RW).len, 5);
	(void)close(fd);
	mock_close(m);
}

/* ---- the guest's own streams ---- */

MOCK_TEST(guest_connects_to_the_host)
{
	int listener = mock_listen(m, 7670);
	int fd = mock_accept(m, listener, 50, 7670);
	struct mock_packet packet;
	char text[8];

	mock_send_data(m, 50, 7670, "hello", 5);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 5); /* and nothing before it */
	assert_int_equal(write(fd, "there", 5), 5);
	mock_run(m);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.src_port, 7670);
	assert_int_equal(packet.header.dst_port, 50);
	assert_memory_equal(packet.payload, "there", 5);
	mock_send(m, 50, 7670, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
	(void)close(listener);
}

MOCK_TEST(full_listener_refuses_and_never_blocks)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	unsigned refused = 0;
	struct mock_packet packet;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s_9", m->uds);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	for (uint32_t i = 0; i < 10; i++) {
		mock_send(m, 100 + i, 9, OP_REQUEST);
		assert_true(mock_next(m, &packet));
		refused += packet.header.op == OP_RST;
	}
	assert_in_range(refused, 5, 9);
	(void)close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_host_client_gets_every_byte),
		cmocka_unit_test(bytes_left_over_begin_at_a_piece),
		cmocka_unit_test(one_slow_client_does_not_hold_up_another),
		cmocka_unit_test(pool_limit_resets_the_flow_that_meets_it),
		cmocka_unit_test(small_writes_become_one_packet),
		cmocka_unit_test(unread_packets_are_bounded),
		cmocka_unit_test(full_window_asks_once_and_late),
		cmocka_unit_test(turns_are_fair),
		cmocka_unit_test(streams_wait_for_buffers),
		cmocka_unit_test(guest_connects_to_the_host),
		cmocka_unit_test(full_listener_refuses_and_never_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
