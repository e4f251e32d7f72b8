/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ends of streams: half-close and close from either side, and bytes still on their way. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_bytes.h"

MOCK_TEST(half_close_of_the_host)
{
	struct mock_packet packet;
	uint32_t port;
	int fd = mock_stream(m, &port);
	char text[8];

	assert_int_equal(write(fd, "last", 4), 4);
	(void)shutdown(fd, SHUT_WR);
	mock_run(m);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.op, OP_RW); /* the bytes first */
	assert_int_equal(mock_expect(m, OP_SHUTDOWN).flags, SHUTDOWN_SEND);
	mock_expect_none(m);
	/* The other way stays open for long. */
	mock_wait(m, 100);
	mock_send_data(m, 1000, port, "answer", 6);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 6);
	/* The guest ends: reset at once, end for the client. */
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_BOTH);
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd);
	assert_int_equal(m->device.flows.count, 0);
	(void)close(fd);
}

MOCK_TEST(half_close_of_the_guest)
{
	struct mock_packet packet;
	uint32_t port;
	int fd = mock_stream(m, &port);
	char text[8];

	mock_send_data(m, 1000, port, "last", 4);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_SEND);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 4);
	mock_assert_end(fd);
	mock_expect_none(m);
	assert_int_equal(write(fd, "still", 5), 5);
	mock_run(m);
	assert_true(mock_next(m, &packet));
	assert_memory_equal(packet.payload, "still", 5);
	/* The client ends too. */
	(void)close(fd);
	assert_int_equal(mock_expect(m, OP_SHUTDOWN).flags, SHUTDOWN_BOTH);
	mock_send(m, 1000, port, OP_RST);
	mock_expect_none(m);
	assert_int_equal(m->device.flows.count, 0);
}

MOCK_TEST(guest_that_reads_no_more)
{
	uint32_t port;
	int fd = mock_stream(m, &port);
	char text[8];

	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_RECV);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	mock_send_data(m, 1000, port, "but", 3);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 3);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_SEND); /* flags add up */
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
}

MOCK_TEST(client_that_closes_with_bytes_on_their_way)
{
	struct mock_packet packet;
	uint32_t port, bytes = 0, flags = 0;
	int fd = mock_stream(m, &port);

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(fd, blob(), 10000), 10000);
	(void)close(fd);
	for (unsigned i = 0; i < 100; i++) {
		mock_kick(m, RING_RX);
		while (mock_next(m, &packet)) {
			if (packet.header.op == OP_SHUTDOWN)
				flags = packet.header.flags;
			if (packet.header.op != OP_RW)
				continue;
			assert_int_not_equal(flags, SHUTDOWN_BOTH);
			for (uint32_t k = 0; k < packet.header.len; k++)
				assert_int_equal(packet.payload[k], blob()[(bytes + k) % 10000]);
			bytes += packet.header.len;
		}
	}
	assert_int_equal(bytes, 100000);
	assert_int_equal(flags, SHUTDOWN_BOTH);
	/* What the guest still sends is dropped in silence. */
	mock_send_data(m, 1000, port, "late", 4);
	mock_expect_none(m);
	mock_send(m, 1000, port, OP_RST);
	assert_int_equal(m->device.flows.count, 0);
}

MOCK_TEST(guest_that_does_not_confirm_the_end)
{
	uint32_t port;
	int fd = mock_stream(m, &port);

	(void)close(fd);
	assert_int_equal(mock_expect(m, OP_SHUTDOWN).flags, SHUTDOWN_BOTH);
	mock_wait(m, FLOW_SHUTDOWN_TIMEOUT_MS - 300);
	mock_expect_none(m);
	assert_int_equal(m->device.flows.count, 1);
	mock_wait(m, 600);
	(void)mock_expect(m, OP_RST);
	assert_int_equal(m->device.flows.count, 0);
}

MOCK_TEST(both_ends_at_once)
{
	uint32_t port;
	int fd = mock_stream(m, &port);

	(void)close(fd);
	assert_int_equal(mock_expect(m, OP_SHUTDOWN).flags, SHUTDOWN_BOTH);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_BOTH);
	(void)mock_expect(m, OP_RST);
	mock_expect_none(m);
	assert_int_equal(m->device.flows.count, 0);
}

MOCK_TEST(last_bytes_outlive_the_guests_end)
{
	uint32_t port, sent;
	int fd = mock_stream(m, &port);
	struct mock_packet packet;

	sent = fill_host(m, port);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_BOTH);
	(void)mock_expect(m, OP_RST); /* the guest's port is free at once */
	assert_int_equal(m->device.flows.count, 1);
	/* A packet for the ports is for nobody. */
	mock_send(m, 1000, port, OP_CREDIT_REQUEST);
	(void)mock_expect(m, OP_RST);
	/* Not even a new driver cuts them off. */
	mock_stop(m);
	m->rings[0].base = m->rings[1].base = 0;
	memset(m->memory, 0, 2 * MOCK_RING);
	for (unsigned i = 0; i < 2; i++)
		m->rings[i].avail_idx = m->rings[i].used_idx = 0;
	m->next_tx = 0;
	mock_start(m);
	mock_post_all(m);
	drain_host(m, fd, sent);
	mock_run(m);
	mock_assert_end(fd);
	assert_int_equal(m->device.flows.count, 0);
	assert_false(mock_next(m, &packet));
	(void)close(fd);
}

MOCK_TEST(client_that_leaves_its_last_bytes)
{
	uint32_t port;
	int fd = mock_stream(m, &port);

	(void)fill_host(m, port);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_BOTH);
	(void)mock_expect(m, OP_RST);
	(void)close(fd);
	mock_run(m);
	assert_int_equal(m->device.flows.count, 0);
	mock_expect_none(m);
}

MOCK_TEST(end_waits_for_the_bytes_before_it)
{
	uint32_t port, sent;
	int fd = mock_stream(m, &port);

	sent = fill_host(m, port);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_SEND);
	drain_host(m, fd, sent);
	mock_assert_end(fd);
	assert_int_equal(m->device.flows.count, 1);
	(void)close(fd);
}

MOCK_TEST(client_that_stops_reading_for_good)
{
	struct mock_packet packet;
	uint32_t port, flags = 0;
	int fd = mock_stream(m, &port);

	(void)fill_host(m, port);
	(void)shutdown(fd, SHUT_RD);
	mock_send_data(m, 1000, port, "", 0);
	mock_wait(m, 20);
	(void)close(fd);
	mock_run(m);
	while (mock_next(m, &packet))
		if (packet.header.op == OP_SHUTDOWN)
			flags = packet.header.flags;
	assert_int_equal(flags, SHUTDOWN_BOTH);
	assert_int_equal(m->device.flows.pool.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_close_of_the_host),
		cmocka_unit_test(half_close_of_the_guest),
		cmocka_unit_test(guest_that_reads_no_more),
		cmocka_unit_test(client_that_closes_with_bytes_on_their_way),
		cmocka_unit_test(guest_that_does_not_confirm_the_end),
		cmocka_unit_test(both_ends_at_once),
		cmocka_unit_test(last_bytes_outlive_the_guests_end),
		cmocka_unit_test(client_that_leaves_its_last_bytes),
		cmocka_unit_test(end_waits_for_the_bytes_before_it),
		cmocka_unit_test(client_that_stops_reading_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
