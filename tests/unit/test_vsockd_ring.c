/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a hostile or unusual driver writes into its rings and descriptors. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_mock.h"

#define GPA(offset) (MOCK_GPA + (offset))

/* The driver's answer to a broken device: stop, clear, start anew. */
static void reset_driver(struct mock *m)
{
	mock_stop(m);
	memset(m->memory, 0, 2 * MOCK_RING);
	for (unsigned i = 0; i < 2; i++) {
		m->rings[i].avail_idx = 0;
		m->rings[i].used_idx = 0;
		m->rings[i].base = 0;
	}
	m->next_tx = 0;
	mock_start(m);
	mock_post_all(m);
}

static void assert_broken(struct mock *m, uint64_t times)
{
	assert_int_equal(m->device.counters.rings_broken, times);
	assert_false(m->device.rings[RING_RX].running || m->device.rings[RING_TX].running);
	/* Kicks do nothing, and the process goes on. */
	mock_kick(m, RING_TX);
	mock_kick(m, RING_RX);
	reset_driver(m);
	mock_assert_alive(m);
}

static struct ring_desc *tx_desc(struct mock *m)
{
	return m->rings[RING_TX].desc;
}

static void put_and_kick(struct mock *m, uint16_t head)
{
	mock_put(m, RING_TX, head);
	mock_kick(m, RING_TX);
}

MOCK_TEST(looping_chain_breaks_the_ring)
{
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_TX), 1, DESC_NEXT, 1};
	tx_desc(m)[1] = (struct ring_desc){GPA(MOCK_TX), 1, DESC_NEXT, 0};
	put_and_kick(m, 0);
	assert_broken(m, 1);
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_TX), 1, DESC_NEXT, 0};
	put_and_kick(m, 0);
	assert_broken(m, 2);
}

MOCK_TEST(next_outside_the_ring_breaks_it)
{
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_TX), 1, DESC_NEXT, MOCK_NUM};
	put_and_kick(m, 0);
	assert_broken(m, 1);
	put_and_kick(m, MOCK_NUM);
	assert_broken(m, 2);
	put_and_kick(m, 0xffff);
	assert_broken(m, 3);
}

/* A REQUEST to a port without a listener, its header in MOCK_NUM pieces: the longest chain there
 * is. */
MOCK_TEST(chain_as_long_as_the_ring)
{
	struct packet header = mock_header(5, 6, OP_REQUEST);

	packet_to_le(&header);
	memcpy(m->memory + MOCK_TX, &header, PACKET_SIZE);
	for (uint16_t i = 0; i < MOCK_NUM; i++)
		tx_desc(m)[i] = (struct ring_desc){
			GPA(MOCK_TX + i), 1, i + 1U < MOCK_NUM ? DESC_NEXT : 0, (uint16_t)(i + 1)};
	put_and_kick(m, 0);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
	tx_desc(m)[MOCK_NUM - 1].flags = DESC_NEXT;
	tx_desc(m)[MOCK_NUM - 1].next = MOCK_NUM - 1;
	put_and_kick(m, 0);
	assert_broken(m, 1);
}

MOCK_TEST(address_outside_memory_breaks_the_ring)
{
	static const struct ring_desc bad[] = {
		{0, PACKET_SIZE, 0, 0},
		{MOCK_GPA - 1, PACKET_SIZE, 0, 0},
		{GPA(MOCK_SIZE), PACKET_SIZE, 0, 0},
		{GPA(MOCK_SIZE - 1), 2, 0, 0},
		{GPA(0), UINT32_MAX, 0, 0},
		{UINT64_MAX - 10, PACKET_SIZE, 0, 0},
		{UINT64_MAX, 1, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		tx_desc(m)[0] = bad[i];
		put_and_kick(m, 0);
		assert_broken(m, i + 1);
	}
}

MOCK_TEST(empty_descriptors_are_passed_over)
{
	struct packet header = mock_header(5, 6, OP_REQUEST);

	packet_to_le(&header);
	memcpy(m->memory + MOCK_TX, &header, PACKET_SIZE);
	tx_desc(m)[0] = (struct ring_desc){0, 0, DESC_NEXT, 1};
	tx_desc(m)[1] = (struct ring_desc){GPA(MOCK_TX), PACKET_SIZE, DESC_NEXT, 2};
	tx_desc(m)[2] = (struct ring_desc){UINT64_MAX, 0, 0, 0};
	put_and_kick(m, 0);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
	assert_int_equal(m->device.counters.rings_broken, 0);
}

/* A receive buffer over the border of two regions, and a hole behind the second. */
static void two_regions(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	struct vhost_user_mem_table table = {
		.count = 2,
		.regions = {{MOCK_GPA, MOCK_SIZE / 2, MOCK_UVA, 0},
			{MOCK_GPA + MOCK_SIZE / 2, MOCK_SIZE / 4, MOCK_UVA + (64U << 20),
				MOCK_SIZE / 2}},
	};
	int fds[2];
	struct packet header = mock_header(5, 6, OP_REQUEST);

	(void)state;
	mock_open(m);
	fds[0] = fds[1] = m->memfd;
	assert_int_equal(mock_ask(m, VHOST_SET_MEM_TABLE, &table, 8 + 64, fds, 2), 0);
	packet_to_le(&header);
	memcpy(m->memory + MOCK_SIZE / 2 - 20, &header, PACKET_SIZE);
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_SIZE / 2 - 20), PACKET_SIZE, 0, 0};
	put_and_kick(m, 0);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
	tx_desc(m)[0].addr = GPA(MOCK_SIZE / 4 * 3 - 20);
	put_and_kick(m, 0);
	assert_int_equal(m->device.counters.rings_broken, 1);
	mock_close(m);
}

MOCK_TEST(index_that_jumps_breaks_the_ring)
{
	m->rings[RING_TX].avail_idx = (uint16_t)(m->rings[RING_TX].avail_idx + MOCK_NUM);
	put_and_kick(m, 0);
	assert_broken(m, 1);
	m->rings[RING_RX].avail_idx = (uint16_t)(m->rings[RING_RX].avail_idx + 10 * MOCK_NUM);
	mock_put(m, RING_RX, 0);
	/* Buffers that were looked up before are still good. */
	for (unsigned i = 0; i <= RX_BATCH; i++)
		(void)mock_client(m, "CONNECT 1\n");
	assert_int_equal(m->device.counters.rings_broken, 2);
}

MOCK_TEST(index_that_goes_back_breaks_the_ring)
{
	mock_send(m, 1, 2, OP_RST);
	mock_send(m, 1, 2, OP_RST);
	m->rings[RING_TX].avail_idx--;
	m->rings[RING_TX].avail[1] = m->rings[RING_TX].avail_idx;
	mock_kick(m, RING_TX);
	assert_broken(m, 1);
}

MOCK_TEST(used_ring_in_the_way_of_data_is_survived)
{
	/* The payload of every receive buffer lies over the rings themselves. */
	for (uint16_t i = 0; i < MOCK_NUM; i++)
		m->rings[RING_RX].desc[i].addr = MOCK_GPA;
	(void)mock_client(m, "CONNECT 1\n");
	mock_run(m);
	mock_kick(m, RING_TX);
	mock_kick(m, RING_RX);
	mock_run(m);
	reset_driver(m);
	mock_assert_alive(m);
}

/* ---- indirect tables ---- */

static void put_table(struct mock *m, uint32_t len, uint16_t flags)
{
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_TX + 0x8000), len, flags, 1};
	put_and_kick(m, 0);
}

static struct ring_desc *table(struct mock *m)
{
	return (struct ring_desc *)(m->memory + MOCK_TX + 0x8000);
}

MOCK_TEST(indirect_table_carries_a_packet)
{
	struct packet header = mock_header(5, 6, OP_REQUEST);

	packet_to_le(&header);
	memcpy(m->memory + MOCK_TX, &header, PACKET_SIZE);
	table(m)[0] = (struct ring_desc){GPA(MOCK_TX), 40, DESC_NEXT, 2};
	table(m)[2] = (struct ring_desc){GPA(MOCK_TX + 40), 4, 0, 0};
	put_table(m, 48, DESC_INDIRECT);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
	/* The largest table; all but the last piece are empty. */
	for (uint16_t i = 0; i + 1U < CHAIN_MAX; i++)
		table(m)[i] = (struct ring_desc){0, 0, DESC_NEXT, (uint16_t)(i + 1)};
	table(m)[CHAIN_MAX - 1] = (struct ring_desc){GPA(MOCK_TX), PACKET_SIZE, 0, 0};
	put_table(m, CHAIN_MAX * 16, DESC_INDIRECT);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
	assert_int_equal(m->device.counters.rings_broken, 0);
}

MOCK_TEST(table_behind_a_descriptor)
{
	struct packet header = mock_header(5, 6, OP_REQUEST);

	packet_to_le(&header);
	memcpy(m->memory + MOCK_TX, &header, PACKET_SIZE);
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_TX), 10, DESC_NEXT, 1};
	tx_desc(m)[1] = (struct ring_desc){GPA(MOCK_TX + 0x8000), 16, DESC_INDIRECT, 0};
	table(m)[0] = (struct ring_desc){GPA(MOCK_TX + 10), 34, 0, 0};
	put_and_kick(m, 0);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
}

MOCK_TEST(bad_tables_break_the_ring)
{
	table(m)[0] = (struct ring_desc){GPA(MOCK_TX), PACKET_SIZE, 0, 0};
	put_table(m, 0, DESC_INDIRECT);
	assert_broken(m, 1);
	put_table(m, 17, DESC_INDIRECT);
	assert_broken(m, 2);
	put_table(m, (CHAIN_MAX + 1) * 16, DESC_INDIRECT);
	assert_broken(m, 3);
	put_table(m, 16, DESC_INDIRECT | DESC_NEXT);
	assert_broken(m, 4);
	table(m)[0].flags = DESC_INDIRECT;
	put_table(m, 16, DESC_INDIRECT);
	assert_broken(m, 5);
	table(m)[0] = (struct ring_desc){GPA(MOCK_TX), 1, DESC_NEXT, 0};
	put_table(m, 16, DESC_INDIRECT);
	assert_broken(m, 6);
	table(m)[0].next = 1;
	put_table(m, 16, DESC_INDIRECT);
	assert_broken(m, 7);
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_SIZE - 8), 16, DESC_INDIRECT, 0};
	put_and_kick(m, 0);
	assert_broken(m, 8);
}

static void table_without_the_feature_breaks_the_ring(void **state)
{
	static struct mock mock;

	(void)state;
	mock_init(&mock, 16);
	mock.features &= ~FEATURE(FEATURE_INDIRECT_DESC);
	mock_start(&mock);
	mock_post_all(&mock);
	table(&mock)[0] = (struct ring_desc){GPA(MOCK_TX), PACKET_SIZE, 0, 0};
	put_table(&mock, 16, DESC_INDIRECT);
	assert_broken(&mock, 1);
	mock_close(&mock);
}

/* ---- the layout of packets ---- */

MOCK_TEST(header_in_single_bytes)
{
	struct packet header = mock_header(5, 6, OP_REQUEST);

	packet_to_le(&header);
	memcpy(m->memory + MOCK_TX, &header, PACKET_SIZE);
	for (uint16_t i = 0; i < PACKET_SIZE; i++)
		tx_desc(m)[i] = (struct ring_desc){GPA(MOCK_TX + i), 1,
			i + 1U < PACKET_SIZE ? DESC_NEXT : 0, (uint16_t)(i + 1)};
	put_and_kick(m, 0);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
}

MOCK_TEST(writable_pieces_of_a_transmit_chain_do_not_count)
{
	struct packet header = mock_header(5, 6, OP_REQUEST);

	packet_to_le(&header);
	memcpy(m->memory + MOCK_TX, &header, PACKET_SIZE);
	tx_desc(m)[0] = (struct ring_desc){GPA(MOCK_TX), 20, DESC_NEXT, 1};
	tx_desc(m)[1] = (struct ring_desc){GPA(MOCK_TX + 100), 50, DESC_NEXT | DESC_WRITE, 2};
	tx_desc(m)[2] = (struct ring_desc){GPA(MOCK_TX + 20), 24, 0, 0};
	put_and_kick(m, 0);
	assert_int_equal(mock_expect(m, OP_RST).dst_port, 5);
	/* Without enough that is readable there is no packet, but the chain comes back. */
	tx_desc(m)[0].flags = 0;
	put_and_kick(m, 0);
	mock_expect_none(m);
	assert_int_equal(m->device.counters.dropped, 1);
	mock_wait(m, 30);
	assert_int_equal(m->rings[RING_TX].used[1], m->rings[RING_TX].avail_idx);
}

/* Buffers of all layouts, then a stream through them. */
static void odd_receive_buffers(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	struct mock_ring *ring = &m->rings[RING_RX];
	struct ring_used_elem elem[8];
	struct packet header;
	int fd;

	(void)state;
	mock_init(m, 16);
	mock_start(m);
	/* 0: 44 bytes, of no use. 1: only readable. 2: header in two, one byte of room. 3: a
	 * readable piece first. */
	ring->desc[0] = (struct ring_desc){GPA(MOCK_RX), PACKET_SIZE, DESC_WRITE, 0};
	ring->desc[1] = (struct ring_desc){GPA(MOCK_RX), 4096, 0, 0};
	ring->desc[2] = (struct ring_desc){GPA(MOCK_RX + 0x1000), 30, DESC_WRITE | DESC_NEXT, 3};
	ring->desc[3] = (struct ring_desc){GPA(MOCK_RX + 0x2000), 15, DESC_WRITE, 0};
	ring->desc[4] = (struct ring_desc){GPA(MOCK_RX), 100, DESC_NEXT, 5};
	ring->desc[5] = (struct ring_desc){GPA(MOCK_RX + 0x3000), 200, DESC_WRITE, 0};
	mock_put(m, RING_RX, 0);
	mock_put(m, RING_RX, 1);
	mock_put(m, RING_RX, 2);
	mock_put(m, RING_RX, 4);
	mock_kick(m, RING_RX);
	fd = mock_client(m, "CONNECT 1000\nab");
	memcpy(&header, m->memory + MOCK_RX + 0x1000, 30);
	memcpy((uint8_t *)&header + 30, m->memory + MOCK_RX + 0x2000, 14);
	packet_from_le(&header);
	assert_int_equal(header.op, OP_REQUEST);
	mock_send(m, 1000, header.src_port, OP_RESPONSE);
	memcpy(&header, m->memory + MOCK_RX + 0x3000, PACKET_SIZE);
	assert_int_equal(header.op, OP_RW);
	assert_memory_equal(m->memory + MOCK_RX + 0x3000 + PACKET_SIZE, "ab", 2);
	assert_int_equal(ring->used[1], 4);
	memcpy(elem, &ring->used[2], sizeof(elem));
	assert_int_equal(elem[0].id, 0);
	assert_int_equal(elem[0].len, 0);
	assert_int_equal(elem[1].id, 1);
	assert_int_equal(elem[1].len, 0);
	assert_int_equal(elem[2].id, 2);
	assert_int_equal(elem[2].len, PACKET_SIZE);
	assert_int_equal(elem[3].id, 4);
	assert_int_equal(elem[3].len, PACKET_SIZE + 2);
	assert_int_equal(m->device.counters.bad_buffers, 2);
	(void)close(fd);
	mock_close(m);
}

/* A driver that gives back useless buffers without end gets no more than its share. */
MOCK_TEST(useless_buffers_are_gone_through_once)
{
	struct mock_ring *ring = &m->rings[RING_RX];
	struct packet request;
	int fd;

	for (uint16_t i = 0; i < MOCK_NUM; i++)
		ring->desc[i].len = 10;
	m->device.rx.count = 0; /* as if none had been looked up */
	m->device.rings[RING_RX].last_avail = 0;
	fd = mock_client(m, "CONNECT 1000\n");
	assert_int_equal(m->device.counters.bad_buffers, MOCK_NUM);
	assert_int_equal(ring->used[1], MOCK_NUM);
	ring->used_idx = MOCK_NUM;
	mock_post_all(m); /* the kick must have been asked for */
	request = mock_expect(m, OP_REQUEST);
	assert_int_equal(request.dst_port, 1000);
	(void)close(fd);
}

/* ---- all at random ---- */

/* A small generator, so that a failure is the same everywhere. */
static uint32_t rnd(uint32_t below)
{
	static uint64_t x = 88172645463325252U;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 33) % below;
}

static struct ring_desc random_desc(void)
{
	static const uint64_t odd[] = {0, UINT64_MAX, MOCK_GPA - 1, GPA(MOCK_SIZE - 1)};
	static const uint32_t lens[] = {0, 1, 43, 44, 45, 4140, 65536, UINT32_MAX};
	struct ring_desc desc = {
		.addr = GPA(rnd(MOCK_SIZE)),
		.len = rnd(3) ? lens[rnd(ARRAY_SIZE(lens) - 1)] : rnd(200) * 16,
		.flags = (uint16_t)rnd(8),
		.next = (uint16_t)rnd(MOCK_NUM),
	};

	if (rnd(50) == 0)
		desc.addr = odd[rnd(ARRAY_SIZE(odd))];
	if (rnd(3))
		desc.flags &= (uint16_t)~DESC_INDIRECT;
	return desc;
}

/* Headers that mostly mean something, everywhere in the memory that descriptors point to. */
static void scatter_headers(struct mock *m)
{
	for (unsigned i = 0; i < 200; i++) {
		struct packet header = mock_header(
			rnd(4), rnd(2) ? FLOW_PORT_FIRST + rnd(50) : rnd(4), (uint16_t)rnd(9));

		header.len = rnd(5000);
		header.flags = rnd(4);
		header.buf_alloc = rnd(2) ? 65536 : rnd(100);
		header.fwd_cnt = rnd(3) ? 0 : rnd(1000);
		memcpy(m->memory + 2 * MOCK_RING + rnd(MOCK_SIZE - 2 * MOCK_RING - PACKET_SIZE),
			&header, PACKET_SIZE);
	}
}

MOCK_TEST(random_rings_are_survived)
{
	int listener = mock_listen(m, 3);

	for (unsigned round = 0; round < 1500; round++) {
		unsigned index = rnd(2);

		scatter_headers(m);
		for (unsigned i = 0; i < MOCK_NUM; i++)
			if (rnd(4) == 0)
				m->rings[index].desc[i] = random_desc();
		for (unsigned i = rnd(20); i > 0; i--)
			mock_put(m, index, (uint16_t)rnd(rnd(100) ? MOCK_NUM : 65536));
		if (rnd(10) == 0)
			(void)close(mock_client(m, "CONNECT 1\nbytes ahead of the answer"));
		mock_kick(m, index);
		if (m->device.rings[RING_TX].broken || m->device.rings[RING_RX].broken)
			reset_driver(m);
	}
	assert_true(m->device.counters.rings_broken > 100);
	assert_true(m->device.counters.from_guest_packets > 1000);
	reset_driver(m);
	mock_assert_alive(m);
	(void)close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looping_chain_breaks_the_ring),
		cmocka_unit_test(next_outside_the_ring_breaks_it),
		cmocka_unit_test(chain_as_long_as_the_ring),
		cmocka_unit_test(address_outside_memory_breaks_the_ring),
		cmocka_unit_test(empty_descriptors_are_passed_over),
		cmocka_unit_test(two_regions),
		cmocka_unit_test(index_that_jumps_breaks_the_ring),
		cmocka_unit_test(index_that_goes_back_breaks_the_ring),
		cmocka_unit_test(used_ring_in_the_way_of_data_is_survived),
		cmocka_unit_test(indirect_table_carries_a_packet),
		cmocka_unit_test(table_behind_a_descriptor),
		cmocka_unit_test(bad_tables_break_the_ring),
		cmocka_unit_test(table_without_the_feature_breaks_the_ring),
		cmocka_unit_test(header_in_single_bytes),
		cmocka_unit_test(writable_pieces_of_a_transmit_chain_do_not_count),
		cmocka_unit_test(odd_receive_buffers),
		cmocka_unit_test(useless_buffers_are_gone_through_once),
		cmocka_unit_test(random_rings_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
