/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a hostile or unusual VMM says, and in which order. */
/* needs: host/vsockd */
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

/* A test with a device whose front-end has not set up anything. */
#define FRESH_TEST(name)                                                                           \
	static void name##_body(struct mock *m);                                                   \
	static void name(void **state)                                                             \
	{                                                                                          \
		static struct mock mock;                                                           \
                                                                                                   \
		(void)state;                                                                       \
		mock_init(&mock, 16);                                                              \
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
