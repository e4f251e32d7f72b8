/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kicks and interrupts: when they are asked for and given. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_mock.h"

static uint16_t *used_event(struct mock *m, uint32_t index)
{
	return &m->rings[index].avail[2 + MOCK_NUM];
}

static uint16_t avail_event(struct mock *m, uint32_t index)
{
	return m->rings[index].used[2 + MOCK_NUM * 4];
}

MOCK_TEST(interrupts_follow_used_event)
{
	uint32_t port;
	int fd = mock_stream(m, &port);
	uint16_t used = m->rings[RING_RX].used[1];

	(void)mock_called(m, RING_RX);
	*used_event(m, RING_RX) = (uint16_t)(used + 1); /* the second one from here */
	assert_int_equal(write(fd, "a", 1), 1);
	mock_run(m);
	assert_int_equal(m->rings[RING_RX].used[1], (uint16_t)(used + 1));
	assert_false(mock_called(m, RING_RX));
	assert_int_equal(write(fd, "b", 1), 1);
	mock_run(m);
	assert_true(mock_called(m, RING_RX));
	assert_int_equal(write(fd, "c", 1), 1);
	mock_run(m);
	assert_false(mock_called(m, RING_RX));
	(void)close(fd);
}

static void interrupts_follow_the_flag_without_event_idx(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	int fd;

	(void)state;
	mock_init(m, 16);
	m->features &= ~FEATURE(FEATURE_EVENT_IDX);
	mock_start(m);
	mock_post_all(m);
	(void)mock_called(m, RING_RX);
	m->rings[RING_RX].avail[0] = 1;
	fd = mock_client(m, "CONNECT 1000\n");
	assert_int_equal(m->rings[RING_RX].used[1], 1);
	assert_false(mock_called(m, RING_RX));
	m->rings[RING_RX].avail[0] = 0;
	(void)close(fd);
	mock_run(m);
	assert_int_equal(m->rings[RING_RX].used[1], 2);
	assert_true(mock_called(m, RING_RX));
	mock_close(m);
}

MOCK_TEST(kicks_are_asked_for_when_the_ring_is_empty)
{
	mock_send(m, 1, 2, OP_RST);
	assert_int_equal(avail_event(m, RING_TX), 1);
	mock_send(m, 1, 2, OP_RST);
	assert_int_equal(avail_event(m, RING_TX), 2);
	/* Whatever the driver writes there is its own to read. */
	m->rings[RING_TX].used[2 + MOCK_NUM * 4] = 0x1234;
	*used_event(m, RING_TX) = 0xffff;
	mock_send(m, 1, 2, OP_RST);
	assert_int_equal(avail_event(m, RING_TX), 3);
}

MOCK_TEST(kicks_without_entries_cost_little)
{
	uint64_t packets = m->device.counters.from_guest_packets;

	for (unsigned i = 0; i < 1000; i++)
		mock_kick(m, i & 1);
	assert_int_equal(m->device.counters.from_guest_packets, packets);
	assert_false(tx_pending(&m->device) || rx_pending(&m->device));
	mock_assert_alive(m);
}

MOCK_TEST(used_transmit_buffers_come_back_soon)
{
	mock_send(m, 1, 2, OP_RST);
	mock_wait(m, 30);
	assert_int_equal(m->rings[RING_TX].used[1], 1);
	/* A quarter of the ring does not wait for the clock. */
	for (unsigned i = 0; i < MOCK_NUM / 4; i++) {
		struct packet header = mock_header(1, 2, OP_RST);

		mock_queue(m, &header, NULL, 0);
	}
	mock_kick(m, RING_TX);
	assert_int_equal(m->rings[RING_TX].used[1], 1 + MOCK_NUM / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interrupts_follow_used_event),
		cmocka_unit_test(interrupts_follow_the_flag_without_event_idx),
		cmocka_unit_test(kicks_are_asked_for_when_the_ring_is_empty),
		cmocka_unit_test(kicks_without_entries_cost_little),
		cmocka_unit_test(used_transmit_buffers_come_back_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
