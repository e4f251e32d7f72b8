/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a hostile or unusual guest says in its packets. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_bytes.h"

/* Sends a header as it is, with so many bytes behind it. */
static void send_raw(
	struct mock *m, const struct packet *header, const void *payload, uint32_t bytes)
{
	mock_queue(m, header, payload, bytes);
	mock_kick(m, RING_TX);
}

MOCK_TEST(length_beyond_the_chain_resets)
{
	struct packet header;
	uint32_t port;
	int fd = mock_stream(m, &port);

	header = mock_header(1000, port, OP_RW);
	header.len = 11;
	send_raw(m, &header, blob(), 10);
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
	fd = mock_stream(m, &port);
	header = mock_header(1000, port, OP_RW);
	header.len = UINT32_MAX;
	send_raw(m, &header, blob(), 10);
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
	mock_assert_alive(m);
}

MOCK_TEST(packet_beyond_64_kib_resets)
{
	struct packet header;
	uint32_t port;
	int fd = mock_stream(m, &port);
	static uint8_t got[65536];

	header = mock_header(1000, port, OP_RW);
	header.len = 65536;
	send_raw(m, &header, blob(), 65536);
	assert_int_equal(mock_read(fd, got, sizeof(got)), 65536);
	assert_memory_equal(got, blob(), 65536);
	header.len = 65537;
	send_raw(m, &header, blob(), 65537);
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
}

MOCK_TEST(surplus_bytes_of_a_chain_are_ignored)
{
	struct packet header;
	uint32_t port;
	int fd = mock_stream(m, &port);
	char text[16];

	header = mock_header(1000, port, OP_RW);
	header.len = 3;
	send_raw(m, &header, "abcdef", 6);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 3);
	header.len = 0;
	send_raw(m, &header, "abcdef", 6);
	mock_assert_open(fd);
	/* A length where there is no payload means nothing. */
	header = mock_header(1000, port, OP_CREDIT_UPDATE);
	header.len = 1000000;
	send_raw(m, &header, NULL, 0);
	mock_assert_open(fd);
	mock_expect_none(m);
	(void)close(fd);
}

/* The header that counts is the one that was there when the packet was taken: the device has its
 * own copy, so what a second processor writes afterwards changes nothing. */
MOCK_TEST(header_is_read_once)
{
	struct packet copy;
	struct iovec piece = {.iov_base = m->memory + MOCK_TX, .iov_len = PACKET_SIZE};

	copy = mock_header(1, 2, OP_RW);
	memcpy(m->memory + MOCK_TX, &copy, PACKET_SIZE);
	pieces_read(&piece, &copy, PACKET_SIZE);
	memset(m->memory + MOCK_TX, 0xff, PACKET_SIZE);
	assert_int_equal(copy.src_port, 1);
	assert_int_equal(copy.dst_port, 2);
	assert_int_equal(copy.len, 0);
}

MOCK_TEST(foreign_addresses_are_dropped_in_silence)
{
	struct packet header;

	static const uint64_t cids[][2] = {
		{MOCK_CID + 1, CID_HOST},
		{0, CID_HOST},
		{CID_HOST, CID_HOST},
		{MOCK_CID | UINT64_C(1) << 32, CID_HOST},
		{MOCK_CID, MOCK_CID},
		{MOCK_CID, 1},
		{MOCK_CID, 3},
		{MOCK_CID, CID_HOST | UINT64_C(1) << 63},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cids); i++) {
		header = mock_header(5, 6, OP_REQUEST);
		header.src_cid = cids[i][0];
		header.dst_cid = cids[i][1];
		send_raw(m, &header, NULL, 0);
		assert_int_equal(m->device.counters.dropped, i + 1);
	}
	mock_expect_none(m);
}

MOCK_TEST(unknown_types_and_operations_are_reset)
{
	static const uint16_t types[] = {0, 2, 3, 65535};
	static const uint16_t ops[] = {OP_INVALID, 8, 65535};
	struct packet header, reset;
	uint32_t port;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		header = mock_header(5, 6, OP_REQUEST);
		header.type = types[i];
		send_raw(m, &header, NULL, 0);
		reset = mock_expect(m, OP_RST);
		assert_int_equal(reset.dst_port, 5);
		assert_int_equal(reset.src_port, 6);
		assert_int_equal(reset.type, types[i]);
		header.op = OP_RST;
		send_raw(m, &header, NULL, 0);
		mock_expect_none(m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		int fd = mock_stream(m, &port);

		mock_send(m, 1000, port, ops[i]);
		(void)mock_expect(m, OP_RST);
		mock_assert_end(fd);
		(void)close(fd);
		mock_send(m, 1000, port, ops[i]);
		(void)mock_expect(m, OP_RST);
	}
}

MOCK_TEST(packets_of_no_flow_are_reset_once)
{
	static const uint16_t ops[] = {
		OP_RESPONSE, OP_RW, OP_SHUTDOWN, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct packet reset;

		mock_send(m, 77, 88, ops[i]);
		reset = mock_expect(m, OP_RST);
		assert_int_equal(reset.dst_port, 77);
		assert_int_equal(reset.src_port, 88);
		mock_expect_none(m);
	}
	mock_send(m, 77, 88, OP_RST);
	mock_expect_none(m);
	assert_int_equal(m->device.flows.count, 0);
}

MOCK_TEST(second_request_ends_the_flow)
{
	int listener = mock_listen(m, 7670);
	int fd = mock_accept(m, listener, 50, 7670);

	mock_send(m, 50, 7670, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd);
	(void)close(fd);
	(void)close(listener);
}

MOCK_TEST(second_response_ends_the_flow)
{
	uint32_t port;
	int fd = mock_stream(m, &port);

	mock_send(m, 1000, port, OP_RESPONSE);
	(void)mock_expect(m, OP_RST);
	mock_assert_end(fd); /* and no second OK before it */
	(void)close(fd);
}

MOCK_TEST(answer_to_a_client_that_left_is_harmless)
{
	int fd = mock_client(m, "CONNECT 1000\n");
	struct packet request = mock_expect(m, OP_REQUEST);
	struct packet response = mock_header(1000, request.src_port, OP_RESPONSE);

	(void)close(fd);
	mock_queue(m, &response, NULL, 0);
	mock_kick(m, RING_TX);
	(void)mock_expect(m, OP_RST);
	(void)mock_expect(m, OP_RST); /* the answer was to a flow that is no more */
	assert_int_equal(m->device.flows.count, 0);
	mock_assert_alive(m);
}

MOCK_TEST(packets_before_the_answer_end_the_flow)
{
	static const uint16_t ops[] = {OP_RW, OP_SHUTDOWN, OP_REQUEST, OP_INVALID};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		int fd = mock_client(m, "CONNECT 1000\n");
		struct packet request = mock_expect(m, OP_REQUEST);

		mock_send(m, 1000, request.src_port, ops[i]);
		(void)mock_expect(m, OP_RST);
		mock_assert_end(fd);
		(void)close(fd);
	}
}

/* The guest guesses the ports of a flow that it was not told of yet. */
static void unannounced_flow_is_unknown(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	int fd;

	(void)state;
	mock_init(m, 16);
	mock_start(m); /* no receive buffers */
	fd = mock_client(m, "CONNECT 1000\n");
	mock_send(m, 1000, FLOW_PORT_FIRST, OP_RESPONSE);
	mock_assert_open(fd);
	mock_post_all(m);
	(void)mock_expect(m, OP_RST);
	(void)mock_expect(m, OP_REQUEST);
	mock_send(m, 1000, FLOW_PORT_FIRST, OP_RESPONSE);
	mock_assert_alive(m);
	(void)close(fd);
	mock_close(m);
}

static void guest_connections_are_capped(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	int listener, accepted = 0, fd;

	(void)state;
	mock_init(m, 20);
	mock_start(m);
	mock_post_all(m);
	listener = mock_listen(m, 1);
	for (uint32_t i = 0; i < 5000; i++) {
		mock_send(m, i, 1, OP_REQUEST);
		(void)mock_expect(m, i < 20 ? OP_RESPONSE : OP_RST);
	}
	assert_int_equal(m->device.flows.count, 20);
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		accepted++;
		(void)close(fd);
	}
	assert_int_equal(accepted, 20);
	(void)close(listener);
	mock_close(m);
}

MOCK_TEST(refused_host_ports)
{
	char path[108];
	int listener = mock_listen(m, 3);

	/* Nothing there; a file; a link to a socket; a socket of port 3 is fine. */
	mock_send(m, 9, 1, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
	(void)snprintf(path, sizeof(path), "%s_2", m->uds);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	mock_send(m, 9, 2, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
	(void)snprintf(path, sizeof(path), "%s_4", m->uds);
	assert_int_equal(symlink("vm_3", path), 0);
	mock_send(m, 9, 4, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
	(void)close(mock_accept(m, listener, 9, 3));
	(void)mock_expect(m, OP_SHUTDOWN);
	/* Not on the list of allowed ports, though it is there. */
	m->options.allow = (struct ports){.count = 1, .list = (uint32_t[]){5}};
	mock_send(m, 10, 3, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
	m->options.allow.list[0] = 3;
	(void)close(mock_accept(m, listener, 10, 3));
	(void)mock_expect(m, OP_SHUTDOWN);
	(void)close(listener);
	/* Its owner is gone. */
	mock_send(m, 11, 3, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
}

MOCK_TEST(socket_of_another_user_is_refused)
{
	char path[108];
	int listener = mock_listen(m, 3);

	if (geteuid() != 0)
		return; /* only root can give it away */
	(void)snprintf(path, sizeof(path), "%s_3", m->uds);
	assert_int_equal(chown(path, 65534, 65534), 0);
	mock_send(m, 9, 3, OP_REQUEST);
	(void)mock_expect(m, OP_RST);
	(void)close(listener);
}

static void allow_list_is_parsed(void **state)
{
	static const char *const bad[] = {"", ",", "1,", ",1", "1,,2", "1 2", "-1", "a",
		"4294967295", "99999999999999999999", "all,1"};
	struct ports ports;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ports_parse(bad[i], &ports), -EINVAL);
	assert_int_equal(ports_parse("7670,0,4294967294", &ports), 0);
	assert_true(ports_allow(&ports, 7670) && ports_allow(&ports, 0));
	assert_true(ports_allow(&ports, 4294967294U));
	assert_false(ports_allow(&ports, 1) || ports.all);
	free(ports.list);
	assert_int_equal(ports_parse("all", &ports), 0);
	assert_true(ports_allow(&ports, 1));
}

/* ---- credit ---- */

MOCK_TEST(more_than_the_credit_resets)
{
	uint32_t port, sent = 0;
	int fd = mock_stream(m, &port);
	struct mock_packet packet;

	/* The client does not read: the socket fills, then the buffer. */
	for (unsigned i = 0; i < 64; i++) {
		mock_send_data(m, 1000, port, blob(), 65536);
		sent += 65536;
		if (mock_next(m, &packet) && packet.header.op == OP_RST)
			break;
		assert_int_not_equal(m->device.flows.count, 0);
	}
	assert_int_equal(packet.header.op, OP_RST);
	assert_int_equal(m->device.counters.credit_abuse, 1);
	assert_int_equal(m->device.flows.pool.used, 0);
	assert_true(sent < 2U << 20);
	(void)close(fd);
}

MOCK_TEST(absurd_credit_is_survived)
{
	struct packet header;
	uint32_t port;
	int fd = mock_stream(m, &port);
	struct mock_packet packet;

	mock_send_credit(m, 1000, port, 0, 0);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	mock_expect_none(m);
	mock_send_credit(m, 1000, port, 1, 0);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.len, 1);
	(void)mock_expect(m, OP_CREDIT_REQUEST);
	mock_send_credit(m, 1000, port, UINT32_MAX, 1);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.len, 9);
	mock_send_credit(m, 1000, port, 5, 1); /* shrinks below what is in flight */
	assert_int_equal(write(fd, "x", 1), 1);
	mock_run(m);
	while (mock_next(m, &packet))
		assert_int_equal(packet.header.op, OP_CREDIT_REQUEST);
	header = mock_header(1000, port, OP_CREDIT_UPDATE);
	header.fwd_cnt = 11; /* was sent 10 */
	send_raw(m, &header, NULL, 0);
	(void)mock_expect(m, OP_RST);
	assert_int_equal(m->device.counters.credit_abuse, 1);
	(void)close(fd);
}

MOCK_TEST(credit_is_per_flow)
{
	uint32_t first, second;
	int a = mock_stream(m, &first);
	int b = mock_stream(m, &second);

	mock_send_credit(m, 1000, first, 0, 0);
	assert_int_equal(write(a, "a", 1), 1);
	assert_int_equal(write(b, "b", 1), 1);
	assert_int_equal(mock_expect(m, OP_RW).src_port, second);
	mock_expect_none(m);
	(void)close(a);
	(void)close(b);
}

MOCK_TEST(guest_hears_of_freed_space)
{
	uint32_t port;
	int fd = mock_stream(m, &port);
	static uint8_t got[65536];
	struct packet update;

	mock_send_data(m, 1000, port, blob(), 65536);
	mock_expect_none(m);
	mock_send_data(m, 1000, port, blob(), 65536);
	update = mock_expect(m, OP_CREDIT_UPDATE);
	assert_int_equal(update.fwd_cnt, 131072);
	assert_int_equal(update.buf_alloc, CREDIT_BUF_ALLOC);
	/* Data carries the same news. */
	assert_int_equal(mock_read(fd, got, sizeof(got)), 65536);
	mock_send_data(m, 1000, port, "abc", 3);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(mock_expect(m, OP_RW).fwd_cnt, 131075);
	mock_send(m, 1000, port, OP_CREDIT_REQUEST);
	assert_int_equal(mock_expect(m, OP_CREDIT_UPDATE).fwd_cnt, 131075);
	(void)close(fd);
}

/* ---- replies ---- */

static void unread_replies_pause_the_guest(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	struct mock_packet packet;
	unsigned sent = 0, resets = 0;

	(void)state;
	mock_init(m, 16);
	mock_start(m); /* no receive buffers */
	for (; sent < REPLIES_PAUSE + 2 * MOCK_NUM; sent++) {
		if ((uint16_t)(m->rings[RING_TX].avail_idx - m->rings[RING_TX].used[1]) >=
			MOCK_SLOTS)
			mock_wait(m, 20);
		if ((uint16_t)(m->rings[RING_TX].avail_idx - m->rings[RING_TX].used[1]) >=
			MOCK_SLOTS)
			break;
		mock_send(m, sent, 2, OP_RW);
	}
	assert_int_equal(m->device.replies.count, REPLIES_PAUSE);
	assert_int_equal(sent, REPLIES_PAUSE + MOCK_SLOTS);
	assert_true(m->device.counters.paused > 0);
	assert_false(tx_pending(&m->device)); /* and it does not spin meanwhile */
	mock_post_all(m);
	for (unsigned rounds = 0; rounds < 100; rounds++) {
		while (mock_next(m, &packet)) {
			assert_int_equal(packet.header.op, OP_RST);
			assert_int_equal(packet.header.dst_port, resets);
			resets++;
		}
		mock_kick(m, RING_RX);
	}
	assert_int_equal(resets, sent);
	mock_assert_alive(m);
	mock_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_beyond_the_chain_resets),
		cmocka_unit_test(packet_beyond_64_kib_resets),
		cmocka_unit_test(surplus_bytes_of_a_chain_are_ignored),
		cmocka_unit_test(header_is_read_once),
		cmocka_unit_test(foreign_addresses_are_dropped_in_silence),
		cmocka_unit_test(unknown_types_and_operations_are_reset),
		cmocka_unit_test(packets_of_no_flow_are_reset_once),
		cmocka_unit_test(second_request_ends_the_flow),
		cmocka_unit_test(second_response_ends_the_flow),
		cmocka_unit_test(answer_to_a_client_that_left_is_harmless),
		cmocka_unit_test(packets_before_the_answer_end_the_flow),
		cmocka_unit_test(unannounced_flow_is_unknown),
		cmocka_unit_test(guest_connections_are_capped),
		cmocka_unit_test(refused_host_ports),
		cmocka_unit_test(socket_of_another_user_is_refused),
		cmocka_unit_test(allow_list_is_parsed),
		cmocka_unit_test(more_than_the_credit_resets),
		cmocka_unit_test(absurd_credit_is_survived),
		cmocka_unit_test(credit_is_per_flow),
		cmocka_unit_test(guest_hears_of_freed_space),
		cmocka_unit_test(unread_replies_pause_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
