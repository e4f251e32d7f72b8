/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of the device: pause, reset, new memory, the end of the VMM, socket files. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_bytes.h"

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

MOCK_TEST(once_waits_for_last_bytes)
{
	uint32_t port, sent;
	int fd = mock_stream(m, &port);

	m->device.frontend.once = true;
	sent = fill_host(m, port);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_BOTH);
	(void)close(m->front);
	mock_run(m);
	assert_false(m->device.loop.stop);
	assert_int_equal(m->device.proxy.fd, -EBADF); /* no new clients */
	drain_host(m, fd, sent);
	mock_assert_end(fd);
	assert_true(m->device.loop.stop);
	(void)close(fd);
}

MOCK_TEST(once_does_not_wait_for_ever)
{
	uint32_t port;
	int fd = mock_stream(m, &port);

	m->device.frontend.once = true;
	(void)fill_host(m, port);
	mock_send_flags(m, 1000, port, OP_SHUTDOWN, SHUTDOWN_BOTH);
	(void)close(m->front);
	mock_wait(m, 1500);
	assert_false(m->device.loop.stop);
	mock_wait(m, 700);
	assert_true(m->device.loop.stop);
	(void)close(fd);
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
	mock_init(m, 16);
	(void)close(m->front);
	mock_run(m);
	(void)snprintf(path, sizeof(path), "%.60s/vhost", m->dir);
	assert_int_equal(uds_listen(path, &fd), 0);
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
	assert_int_equal(uds_listen(path, &fd), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(uds_listen(path, &again), -EADDRINUSE);
	(void)close(fd); /* nobody listens any more: stale */
	assert_int_equal(uds_listen(path, &fd), 0);
	(void)close(fd);
	(void)unlink(path);
	file = open(path, O_CREAT | O_WRONLY, 0600);
	(void)close(file);
	assert_int_equal(uds_listen(path, &fd), -EEXIST);
	(void)unlink(path);
	(void)snprintf(other, sizeof(other), "%s/t", dir);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(uds_listen(path, &fd), -EEXIST);
	(void)unlink(path);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(uds_listen(path, &fd), -EPERM);
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(uds_listen(path, &fd), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_outlive_a_pause),
		cmocka_unit_test(streams_do_not_outlive_a_reset),
		cmocka_unit_test(changed_addresses_are_a_new_driver),
		cmocka_unit_test(memory_may_be_replaced_while_rings_run),
		cmocka_unit_test(new_call_descriptor_is_told_what_was_missed),
		cmocka_unit_test(end_of_the_front_end_ends_all_streams),
		cmocka_unit_test(end_in_the_middle_of_a_message),
		cmocka_unit_test(once_means_once),
		cmocka_unit_test(once_waits_for_last_bytes),
		cmocka_unit_test(once_does_not_wait_for_ever),
		cmocka_unit_test(truncated_memory_ends_the_front_end_not_the_process),
		cmocka_unit_test(second_front_end_waits),
		cmocka_unit_test(socket_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
