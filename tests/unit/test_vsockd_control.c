/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMM's side: hostile and unusual messages, their order, stop and start, the end. */
#include "tests/unit/vsockd_mock.h"

#include <dirent.h>

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	(void)closedir(dir);
	return count;
}

/* A device with a front-end that has not set up anything. */
static void fresh(struct mock *m)
{
	mock_init(m, 16);
}

#define FRESH_TEST(name)                                                                           \
	static void name##_body(struct mock *m);                                                   \
	static void name(void **state)                                                             \
	{                                                                                          \
		static struct mock mock;                                                           \
                                                                                                   \
		(void)state;                                                                       \
		fresh(&mock);                                                                      \
		name##_body(&mock);                                                                \
		mock_close(&mock);                                                                 \
	}                                                                                          \
	static void name##_body(struct mock *m)

static void assert_dropped_and_back(struct mock *m)
{
	char byte;

	assert_false(frontend_connected(&m->device.frontend));
	assert_int_equal(mock_reply(m, 0, &byte, 1), -2);
	(void)close(m->front);
	mock_attach(m);
}

FRESH_TEST(broken_framing_drops_the_front_end)
{
	static const struct vhost_user_header bad[] = {
		{VHOST_GET_FEATURES, 0, 0},                           /* version 0 */
		{VHOST_GET_FEATURES, 2, 0},                           /* version 2 */
		{VHOST_GET_FEATURES, VHOST_FLAG_VERSION, 4097},       /* too large */
		{VHOST_GET_FEATURES, VHOST_FLAG_VERSION, UINT32_MAX}, /* much too large */
		{VHOST_SET_FEATURES, VHOST_FLAG_VERSION, 0},          /* no payload */
		{VHOST_SET_FEATURES | 0, VHOST_FLAG_VERSION | 8, 0},  /* also with an ack */
		{VHOST_GET_VRING_BASE, VHOST_FLAG_VERSION, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(write(m->front, &bad[i], sizeof(bad[i])), sizeof(bad[i]));
		mock_run(m);
		assert_dropped_and_back(m);
	}
}

FRESH_TEST(sizes_that_do_not_match_drop_the_front_end)
{
	static const struct {
		uint32_t request, size;
	} bad[] = {
		{VHOST_GET_FEATURES, 8},
		{VHOST_SET_FEATURES, 7},
		{VHOST_SET_FEATURES, 9},
		{VHOST_SET_VRING_ADDR, 39},
		{VHOST_SET_VRING_KICK, 4},
		{VHOST_SET_MEM_TABLE, 7},
		{VHOST_SET_MEM_TABLE, 4096},
		{VHOST_GET_CONFIG, 11},
		{VHOST_ADD_MEM_REG, 32},
	};
	static const uint8_t payload[4096];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		mock_say(m, bad[i].request, payload, bad[i].size);
		assert_dropped_and_back(m);
	}
}

FRESH_TEST(message_in_pieces_is_one_message)
{
	struct vhost_user_header header = {VHOST_GET_FEATURES, VHOST_FLAG_VERSION, 0};
	uint64_t value;

	for (size_t i = 0; i < sizeof(header); i++) {
		assert_int_equal(write(m->front, (uint8_t *)&header + i, 1), 1);
		mock_run(m);
	}
	assert_int_equal(mock_reply(m, VHOST_GET_FEATURES, &value, sizeof(value)), 8);
	assert_int_equal(value, CONTROL_FEATURES);
}

FRESH_TEST(unknown_requests)
{
	static const uint32_t requests[] = {0, 6, 7, 19, 23, 34, 39, 100, UINT32_MAX};
	uint64_t payload = 0;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		assert_int_not_equal(mock_ask(m, requests[i], &payload, 8, NULL, 0), 0);
		mock_say(m, requests[i], &payload, 8);
		assert_int_equal(mock_reply(m, 0, &payload, 8), -1);
	}
}

FRESH_TEST(no_acknowledgement_unless_negotiated)
{
	uint64_t features = CONTROL_FEATURES;

	mock_set(m, VHOST_SET_PROTOCOL_FEATURES, FEATURE(VHOST_PROTOCOL_CONFIG));
	mock_say_flags(m, VHOST_SET_FEATURES, VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY, &features,
		8, NULL, 0);
	assert_int_equal(mock_reply(m, 0, &features, 8), -1);
	mock_set(m, VHOST_SET_PROTOCOL_FEATURES, CONTROL_PROTOCOL_FEATURES);
	assert_int_equal(mock_ask(m, VHOST_SET_FEATURES, &features, 8, NULL, 0), 0);
}

FRESH_TEST(features_that_were_not_offered_are_refused)
{
	uint64_t value = CONTROL_FEATURES | 2; /* SEQPACKET */

	assert_int_not_equal(mock_ask(m, VHOST_SET_FEATURES, &value, 8, NULL, 0), 0);
	value = UINT64_MAX;
	assert_int_not_equal(mock_ask(m, VHOST_SET_PROTOCOL_FEATURES, &value, 8, NULL, 0), 0);
	assert_int_equal(m->device.features, 0);
	assert_int_equal(m->device.protocol_features, CONTROL_PROTOCOL_FEATURES);
	assert_int_equal(mock_get(m, VHOST_GET_MAX_MEM_SLOTS), MEMORY_REGIONS_MAX);
}

FRESH_TEST(descriptors_that_are_too_many_or_too_few)
{
	uint64_t value = 0;
	unsigned before;
	int fds[17];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = m->rings[0].call;
	before = open_fds();
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_CALL, &value, 8, NULL, 0), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_CALL, &value, 8, fds, 2), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_KICK, &value, 8, fds, 8), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_FEATURES, &value, 8, fds, 1), 0);
	value = VHOST_VRING_NO_FD;
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_CALL, &value, 8, fds, 1), 0);
	assert_int_equal(mock_ask(m, VHOST_SET_VRING_CALL, &value, 8, NULL, 0), 0);
	assert_int_equal(open_fds(), before);
	/* More than any message may have. */
	value = 0;
	mock_say_flags(m, VHOST_SET_VRING_ERR, VHOST_FLAG_VERSION, &value, 8, fds, 17);
	assert_dropped_and_back(m);
	mock_say_flags(m, VHOST_SET_VRING_ERR, VHOST_FLAG_VERSION, &value, 8, fds, 9);
	assert_dropped_and_back(m);
	assert_int_equal(open_fds(), before);
}

FRESH_TEST(kick_that_cannot_be_waited_for_is_refused)
{
	uint64_t value = 0;
	int file = m->memfd;

	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_KICK, &value, 8, &file, 1), 0);
	assert_true(m->device.rings[0].kick < 0);
}

FRESH_TEST(ring_numbers_and_sizes_are_checked)
{
	static const uint32_t nums[] = {0, 3, 127, 65536, UINT32_MAX};
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr = mock_addr(2);
	uint64_t value = 2;
	int fd = m->rings[0].call;

	for (size_t i = 0; i < ARRAY_SIZE(nums); i++) {
		state = (struct vhost_user_vring_state){0, nums[i]};
		assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_NUM, &state, 8, NULL, 0), 0);
	}
	state = (struct vhost_user_vring_state){2, 64};
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_NUM, &state, 8, NULL, 0), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_BASE, &state, 8, NULL, 0), 0);
	state.num = 1;
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_ENABLE, &state, 8, NULL, 0), 0);
	state = (struct vhost_user_vring_state){0, 65536};
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_BASE, &state, 8, NULL, 0), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_ENABLE, &state, 8, NULL, 0), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_CALL, &value, 8, &fd, 1), 0);
	value = 255;
	assert_int_not_equal(mock_ask(m, VHOST_SET_VRING_KICK, &value, 8, &fd, 1), 0);
	assert_int_equal(mock_get_base(m, 200), 0); /* answered all the same */
}

FRESH_TEST(memory_tables_are_checked)
{
	const struct vhost_user_region good = {MOCK_GPA, MOCK_SIZE, MOCK_UVA, 0};
	struct vhost_user_mem_table table;
	int fds[9];
	unsigned before;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = m->memfd;
	before = open_fds();

#define ASK(n, size, fd_count) mock_ask(m, VHOST_SET_MEM_TABLE, &table, size, fds, fd_count)
	memset(&table, 0, sizeof(table));
	assert_int_equal(ASK(0, 8, 0), 0); /* an empty one is one */
	table.regions[0] = good;
	table.count = 9;
	assert_int_not_equal(ASK(9, sizeof(table), 8), 0);
	table.count = UINT32_MAX;
	assert_int_not_equal(ASK(0, 40, 1), 0);
	table.count = 2;
	assert_int_not_equal(ASK(2, 40, 2), 0);
	assert_int_not_equal(ASK(2, 72, 1), 0);
	table.count = 1;
	assert_int_not_equal(ASK(1, 40, 2), 0);
	assert_int_not_equal(ASK(1, 40, 0), 0);
	table.regions[0].size = 0;
	assert_int_not_equal(ASK(1, 40, 1), 0);
	table.regions[0] = good;
	table.regions[0].size = MOCK_SIZE + 1; /* longer than the file */
	assert_int_not_equal(ASK(1, 40, 1), 0);
	table.regions[0] = good;
	table.regions[0].offset = 1;
	assert_int_not_equal(ASK(1, 40, 1), 0);
	table.regions[0].offset = UINT64_MAX - 100;
	assert_int_not_equal(ASK(1, 40, 1), 0);
	table.regions[0] = good;
	table.regions[0].gpa = UINT64_MAX - 100;
	assert_int_not_equal(ASK(1, 40, 1), 0);
	table.regions[0] = good;
	table.regions[0].uva = UINT64_MAX - 100;
	assert_int_not_equal(ASK(1, 40, 1), 0);
	table.count = 2;
	table.regions[0] = table.regions[1] = good; /* twice the same */
	assert_int_not_equal(ASK(2, 72, 2), 0);
	table.regions[1].gpa += MOCK_SIZE; /* the VMM's addresses still overlap */
	assert_int_not_equal(ASK(2, 72, 2), 0);
	assert_int_equal(m->device.memory.count, 0);
	table.count = 1;
	fds[0] = m->rings[0].call; /* no file that could be mapped */
	assert_int_not_equal(ASK(1, 40, 1), 0);
	fds[0] = m->memfd;
	assert_int_equal(ASK(1, 40, 1), 0);
	assert_int_equal(m->device.memory.count, 1);
#undef ASK
	assert_int_equal(open_fds(), before);
}

FRESH_TEST(regions_come_and_go)
{
	struct vhost_user_mem_region region = {0, {MOCK_GPA, MOCK_SIZE, MOCK_UVA, 0}};
	struct vhost_user_mem_region second = {
		0, {MOCK_GPA + (1ULL << 32), MOCK_SIZE, MOCK_UVA + (1ULL << 32), 0}};
	unsigned before = open_fds();

	mock_start(m);
	mock_post_all(m);
	assert_int_equal(mock_ask(m, VHOST_ADD_MEM_REG, &second, 40, &m->memfd, 1), 0);
	assert_int_not_equal(mock_ask(m, VHOST_ADD_MEM_REG, &second, 40, &m->memfd, 1), 0);
	mock_assert_alive(m);
	assert_int_equal(mock_ask(m, VHOST_REM_MEM_REG, &second, 40, NULL, 0), 0);
	assert_int_not_equal(mock_ask(m, VHOST_REM_MEM_REG, &second, 40, NULL, 0), 0);
	mock_assert_alive(m);
	/* The one that holds the rings: they rest, and go on when it is back. */
	assert_int_equal(mock_ask(m, VHOST_REM_MEM_REG, &region, 40, &m->memfd, 1), 0);
	assert_false(m->device.rings[0].running);
	mock_kick(m, RING_TX);
	assert_int_equal(mock_ask(m, VHOST_ADD_MEM_REG, &region, 40, &m->memfd, 1), 0);
	mock_assert_alive(m);
	assert_int_equal(open_fds(), before + 4); /* kick and call of both rings */
}

FRESH_TEST(slots_are_bounded)
{
	struct vhost_user_mem_region region = {0, {0, 4096, 0, 0}};

	for (unsigned i = 0; i < MEMORY_REGIONS_MAX; i++) {
		region.region.gpa = region.region.uva = (i + 1) * 0x10000U;
		assert_int_equal(mock_ask(m, VHOST_ADD_MEM_REG, &region, 40, &m->memfd, 1), 0);
	}
	region.region.gpa = region.region.uva = 0x7000000;
	assert_int_not_equal(mock_ask(m, VHOST_ADD_MEM_REG, &region, 40, &m->memfd, 1), 0);
}

/* How far to move a part of ring 1 so that it begins that many bytes before the end of memory. */
#define END_AT(part, bytes) ((int64_t)MOCK_SIZE - (bytes) - (part)-MOCK_RING)

FRESH_TEST(ring_addresses_are_checked_when_it_starts)
{
	static const struct {
		int64_t desc, avail, used;
	} shift[] = {
		{8, 0, 0},                          /* descriptors want 16 */
		{0, 1, 0},                          /* available ring 2 */
		{0, 0, 2},                          /* used ring 4 */
		{-(int64_t)MOCK_RING - 4096, 0, 0}, /* before memory */
		{MOCK_SIZE, 0, 0},                  /* behind it */
		{END_AT(0, 16 * 63), 0, 0},         /* the last descriptor behind it */
		{0, END_AT(MOCK_AVAIL, 132), 0},    /* used_event behind it */
		{0, 0, END_AT(MOCK_USED, 516)},     /* avail_event behind it */
		{0, 0, -(int64_t)MOCK_UVA},
	};

	for (size_t i = 0; i < ARRAY_SIZE(shift); i++) {
		struct vhost_user_vring_addr addr = mock_addr(1);

		mock_start(m);
		assert_true(m->device.rings[0].running && m->device.rings[1].running);
		mock_stop(m);
		addr.desc += (uint64_t)shift[i].desc;
		addr.avail += (uint64_t)shift[i].avail;
		addr.used += (uint64_t)shift[i].used;
		mock_set_memory(m);
		mock_set_ring(m, 0);
		mock_set_ring(m, 1);
		mock_say(m, VHOST_SET_VRING_ADDR, &addr, sizeof(addr));
		mock_set_state(m, VHOST_SET_VRING_ENABLE, 0, 1);
		mock_set_state(m, VHOST_SET_VRING_ENABLE, 1, 1);
		assert_false(m->device.rings[0].running || m->device.rings[1].running);
		mock_kick(m, 1);
		mock_stop(m);
	}
	mock_start(m);
	mock_post_all(m);
	mock_assert_alive(m);
}

FRESH_TEST(order_does_not_matter)
{
	uint64_t one = 1;

	/* Kicks and enabling before there is anything else. */
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t value = i;

		mock_set_state(m, VHOST_SET_VRING_ENABLE, i, 1);
		assert_int_equal(write(m->rings[i].kick, &one, 8), 8);
		mock_say_flags(m, VHOST_SET_VRING_KICK, VHOST_FLAG_VERSION, &value, 8,
			&m->rings[i].kick, 1);
		mock_kick(m, i);
	}
	assert_int_equal(mock_get_base(m, 1), 0);
	assert_int_equal(mock_get_base(m, 1), 0);
	mock_set_ring(m, 1);
	mock_set(m, VHOST_SET_FEATURES, m->features);
	mock_set_ring(m, 0);
	mock_set_memory(m);
	assert_true(m->device.rings[0].running);
	mock_post_all(m);
	mock_assert_alive(m);
}

FRESH_TEST(config_is_the_cid)
{
	struct vhost_user_config config = {.size = 8};
	uint64_t cid;

	mock_say(m, VHOST_GET_CONFIG, &config, 20);
	assert_int_equal(mock_reply(m, VHOST_GET_CONFIG, &config, sizeof(config)), 20);
	memcpy(&cid, config.bytes, 8);
	assert_int_equal(le64toh(cid), MOCK_CID);
	config = (struct vhost_user_config){.offset = 4, .size = 4, .bytes = {1, 1, 1, 1}};
	mock_say(m, VHOST_GET_CONFIG, &config, 16);
	assert_int_equal(mock_reply(m, VHOST_GET_CONFIG, &config, sizeof(config)), 16);
	assert_int_equal(config.bytes[0] | config.bytes[3], 0);
	/* Refused ranges are answered with no payload. */
	config = (struct vhost_user_config){.offset = 4, .size = 8};
	mock_say(m, VHOST_GET_CONFIG, &config, 20);
	assert_int_equal(mock_reply(m, VHOST_GET_CONFIG, &config, sizeof(config)), 0);
	config = (struct vhost_user_config){.offset = UINT32_MAX, .size = 8};
	mock_say(m, VHOST_GET_CONFIG, &config, 20);
	assert_int_equal(mock_reply(m, VHOST_GET_CONFIG, &config, sizeof(config)), 0);
	config = (struct vhost_user_config){.size = 200};
	mock_say(m, VHOST_GET_CONFIG, &config, 20);
	assert_int_equal(mock_reply(m, VHOST_GET_CONFIG, &config, sizeof(config)), 0);
	config = (struct vhost_user_config){.size = 8};
	assert_int_not_equal(mock_ask(m, VHOST_SET_CONFIG, &config, 20, NULL, 0), 0);
}

/* ---- stop and start ---- */

MOCK_TEST(streams_outlive_a_pause)
{
	uint32_t port;
	int fd = mock_stream(m, &port);
	struct mock_packet packet;
	char text[8];

	mock_send_data(m, 1000, port, "before", 6);
	mock_stop(m);
	assert_int_equal(write(fd, "while", 5), 5);
	mock_run(m);
	mock_start(m);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.op, OP_RW);
	assert_memory_equal(packet.payload, "while", 5);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 6);
	mock_send_data(m, 1000, port, "after", 5);
	assert_int_equal(mock_read(fd, text, sizeof(text)), 5);
	(void)close(fd);
}

MOCK_TEST(streams_do_not_outlive_a_reset)
{
	uint32_t port;
	int fd = mock_stream(m, &port);
	int waiting;

	mock_stop(m);
	mock_assert_open(fd);
	waiting = mock_client(m, "CONNECT 1000\n"); /* of which no guest knows */
	memset(m->memory, 0, 2 * MOCK_RING);
	for (unsigned i = 0; i < 2; i++)
		m->rings[i].avail_idx = m->rings[i].used_idx = m->rings[i].base = 0;
	mock_start(m);
	mock_assert_end(fd);
	mock_assert_open(waiting);
	mock_post_all(m);
	assert_int_equal(mock_expect(m, OP_REQUEST).dst_port, 1000);
	mock_expect_none(m); /* no reset for what this guest never knew */
	mock_assert_alive(m);
	(void)close(fd);
	(void)close(waiting);
}

MOCK_TEST(changed_addresses_are_a_new_driver)
{
	struct vhost_user_vring_addr addr = mock_addr(1);
	uint32_t port;
	int fd = mock_stream(m, &port);

	mock_stop(m);
	memcpy(m->memory + MOCK_RING + 0x4000, m->rings[1].used, 0x400);
	addr.used += 0x2000;
	m->rings[1].used = (uint16_t *)(m->memory + MOCK_RING + 0x4000);
	mock_set_memory(m);
	mock_set_ring(m, 0);
	mock_set_ring(m, 1);
	mock_say(m, VHOST_SET_VRING_ADDR, &addr, sizeof(addr));
	mock_set_state(m, VHOST_SET_VRING_ENABLE, 0, 1);
	mock_set_state(m, VHOST_SET_VRING_ENABLE, 1, 1);
	mock_assert_end(fd);
	(void)close(fd);
	mock_assert_alive(m);
}

MOCK_TEST(memory_may_be_replaced_while_rings_run)
{
	struct vhost_user_mem_table table = {
		.count = 1, .regions = {{MOCK_GPA, MOCK_SIZE, MOCK_UVA, 0}}};
	struct mock_packet packet;
	uint32_t port;
	int fd = mock_stream(m, &port);
	uint8_t *old = m->memory;

	/* The same bytes in another file: only new pointers see what is written from here on. */
	(void)close(m->memfd);
	m->memfd = memfd_create("moved", MFD_CLOEXEC);
	assert_int_equal(write(m->memfd, old, MOCK_SIZE), MOCK_SIZE);
	m->memory = mmap(NULL, MOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);
	assert_ptr_not_equal(m->memory, MAP_FAILED);
	(void)munmap(old, MOCK_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *at = m->memory + (size_t)i * MOCK_RING;

		m->rings[i].desc = (struct ring_desc *)at;
		m->rings[i].avail = (uint16_t *)(at + MOCK_AVAIL);
		m->rings[i].used = (uint16_t *)(at + MOCK_USED);
	}
	assert_int_equal(mock_ask(m, VHOST_SET_MEM_TABLE, &table, 40, &m->memfd, 1), 0);
	assert_int_equal(write(fd, "moved", 5), 5);
	mock_run(m);
	assert_true(mock_next(m, &packet));
	assert_memory_equal(packet.payload, "moved", 5);
	(void)close(fd);
	mock_run(m);
	(void)mock_expect(m, OP_SHUTDOWN);
	mock_assert_alive(m);
}

MOCK_TEST(new_call_descriptor_is_told_what_was_missed)
{
	uint64_t value = RING_RX;
	uint32_t port;
	int fd = mock_stream(m, &port);

	m->rings[RING_RX].avail[2 + MOCK_NUM] = m->rings[RING_RX].used[1];
	assert_int_equal(write(fd, "x", 1), 1);
	mock_run(m);
	(void)close(m->rings[RING_RX].call); /* with the interrupt in it */
	m->rings[RING_RX].call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	mock_say_flags(
		m, VHOST_SET_VRING_CALL, VHOST_FLAG_VERSION, &value, 8, &m->rings[RING_RX].call, 1);
	assert_true(mock_called(m, RING_RX));
	(void)close(fd);
}

/* ---- the end ---- */

MOCK_TEST(end_of_the_front_end_ends_all_streams)
{
	uint32_t port;
	int fd = mock_stream(m, &port);
	int listener = mock_listen(m, 5);
	int from_guest = mock_accept(m, listener, 1, 5);
	int waiting = mock_client(m, "CONNECT 1000\n");

	(void)close(m->front);
	mock_run(m);
	mock_assert_end(fd);
	mock_assert_end(waiting);
	mock_assert_end(from_guest);
	assert_int_equal(m->device.memory.count, 0);
	assert_false(m->device.loop.stop);
	(void)close(fd);
	(void)close(waiting);
	(void)close(from_guest);
	(void)close(listener);
	/* The next one gets a device as new. */
	memset(m->memory, 0, 2 * MOCK_RING);
	for (unsigned i = 0; i < 2; i++)
		m->rings[i].avail_idx = m->rings[i].used_idx = m->rings[i].base = 0;
	m->next_tx = 0;
	mock_attach(m);
	mock_start(m);
	mock_post_all(m);
	mock_assert_alive(m);
}

MOCK_TEST(end_in_the_middle_of_a_message)
{
	struct vhost_user_header header = {VHOST_SET_FEATURES, VHOST_FLAG_VERSION, 8};

	assert_int_equal(write(m->front, &header, sizeof(header)), sizeof(header));
	mock_run(m);
	(void)close(m->front);
	mock_run(m);
	assert_false(frontend_connected(&m->device.frontend));
	mock_attach(m);
}

MOCK_TEST(once_means_once)
{
	m->device.frontend.once = true;
	(void)close(m->front);
	assert_int_equal(device_step(&m->device, 0), 0);
	assert_true(m->device.loop.stop);
	assert_int_equal(m->device.loop.exit_code, 0);
}

MOCK_TEST(truncated_memory_ends_the_front_end_not_the_process)
{
	char byte;
	int fd = mock_client(m, "CONNECT 1");

	assert_int_equal(ftruncate(m->memfd, 0), 0);
	/* The rings are gone; the next look at them would be the end of a careless process. */
	assert_int_equal(write(fd, "000\n", 4), 4);
	mock_run(m);
	assert_int_equal(write(m->rings[RING_TX].kick, &(uint64_t){1}, 8), 8);
	mock_run(m);
	assert_false(frontend_connected(&m->device.frontend));
	assert_int_equal(mock_reply(m, 0, &byte, 1), -2);
	assert_int_equal(m->device.memory.count, 0);
	(void)close(fd);
}

/* One front-end at a time, over the real listener. */
static void second_front_end_waits(void **state)
{
	static struct mock mock;
	struct mock *m = &mock;
	char path[sizeof(m->dir) + 8];
	int fd, first, second;
	uint64_t value;

	(void)state;
	fresh(m);
	(void)close(m->front);
	mock_run(m);
	(void)snprintf(path, sizeof(path), "%.60s/vhost", m->dir);
	assert_int_equal(listener_open(path, &fd), 0);
	assert_int_equal(frontend_listen(&m->device, fd), 0);
	first = mock_connect_path(path);
	mock_run(m);
	second = mock_connect_path(path);
	m->front = second;
	mock_say(m, VHOST_GET_FEATURES, NULL, 0);
	assert_int_equal(mock_reply(m, VHOST_GET_FEATURES, &value, 8), -1);
	(void)close(first);
	mock_run(m);
	assert_int_equal(mock_reply(m, VHOST_GET_FEATURES, &value, 8), 8);
	assert_int_equal(m->device.counters.sessions, 3);
	mock_close(m);
}

static void socket_files(void **state)
{
	char dir[] = "/tmp/vsockd-XXXXXX", path[64], other[64];
	struct stat st;
	int fd, again, file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(listener_open(path, &fd), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(listener_open(path, &again), -EADDRINUSE);
	(void)close(fd); /* nobody listens any more: stale */
	assert_int_equal(listener_open(path, &fd), 0);
	(void)close(fd);
	(void)unlink(path);
	file = open(path, O_CREAT | O_WRONLY, 0600);
	(void)close(file);
	assert_int_equal(listener_open(path, &fd), -EEXIST);
	(void)unlink(path);
	(void)snprintf(other, sizeof(other), "%s/t", dir);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(listener_open(path, &fd), -EEXIST);
	(void)unlink(path);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(listener_open(path, &fd), -EPERM);
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(listener_open(path, &fd), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(broken_framing_drops_the_front_end),
		cmocka_unit_test(sizes_that_do_not_match_drop_the_front_end),
		cmocka_unit_test(message_in_pieces_is_one_message),
		cmocka_unit_test(unknown_requests),
		cmocka_unit_test(no_acknowledgement_unless_negotiated),
		cmocka_unit_test(features_that_were_not_offered_are_refused),
		cmocka_unit_test(descriptors_that_are_too_many_or_too_few),
		cmocka_unit_test(kick_that_cannot_be_waited_for_is_refused),
		cmocka_unit_test(ring_numbers_and_sizes_are_checked),
		cmocka_unit_test(memory_tables_are_checked),
		cmocka_unit_test(regions_come_and_go),
		cmocka_unit_test(slots_are_bounded),
		cmocka_unit_test(ring_addresses_are_checked_when_it_starts),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(config_is_the_cid),
		cmocka_unit_test(streams_outlive_a_pause),
		cmocka_unit_test(streams_do_not_outlive_a_reset),
		cmocka_unit_test(changed_addresses_are_a_new_driver),
		cmocka_unit_test(memory_may_be_replaced_while_rings_run),
		cmocka_unit_test(new_call_descriptor_is_told_what_was_missed),
		cmocka_unit_test(end_of_the_front_end_ends_all_streams),
		cmocka_unit_test(end_in_the_middle_of_a_message),
		cmocka_unit_test(once_means_once),
		cmocka_unit_test(truncated_memory_ends_the_front_end_not_the_process),
		cmocka_unit_test(second_front_end_waits),
		cmocka_unit_test(socket_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
