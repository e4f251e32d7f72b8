/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The byte queue: order, growth, what it gives back. */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "proto/buffer.h"

UNIT(empty_buffer_has_nothing)
{
	struct buffer buffer = {0};

	assert_int_equal(buffer_len(&buffer), 0);
	buffer_consume(&buffer, 0);
	buffer_clear(&buffer);
	assert_null(buffer.data);
}

UNIT(nothing_can_be_appended)
{
	struct buffer buffer = {0};

	assert_int_equal(buffer_append(&buffer, "", 0), 0);
	assert_int_equal(buffer_len(&buffer), 0);
	assert_int_equal(buffer_append(&buffer, "a", 1), 0);
	assert_int_equal(buffer_append(&buffer, "", 0), 0);
	assert_int_equal(buffer_len(&buffer), 1);
	buffer_clear(&buffer);
}

UNIT(bytes_leave_in_the_order_they_came)
{
	struct buffer buffer = {0};
	struct dice dice = dice_new(__func__);
	uint8_t in = 0, out = 0;

	for (int round = 0; round < 2000; round++) {
		size_t n = dice_below(&dice, 9000);
		uint8_t *at = buffer_reserve(&buffer, n ? n : 1);

		assert_non_null(at);
		for (size_t i = 0; i < n; i++)
			at[i] = in++;
		buffer_commit(&buffer, n);
		n = dice_below(&dice, buffer_len(&buffer) + 1);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(buffer_front(&buffer)[i], out++);
		buffer_consume(&buffer, n);
	}
	while (buffer_len(&buffer) > 0) {
		assert_int_equal(*buffer_front(&buffer), out++);
		buffer_consume(&buffer, 1);
	}
	assert_int_equal(in, out);
	buffer_clear(&buffer);
}

UNIT(room_at_the_front_is_used_before_growing)
{
	struct buffer buffer = {0};

	assert_non_null(buffer_reserve(&buffer, 4096));
	buffer_commit(&buffer, 4096);
	assert_int_equal(buffer.size, 4096);
	buffer.data[4095] = 'z';
	buffer_consume(&buffer, 4000);
	assert_non_null(buffer_reserve(&buffer, 3000));
	assert_int_equal(buffer.size, 4096);
	assert_int_equal(buffer_len(&buffer), 96);
	assert_int_equal(buffer_front(&buffer)[95], 'z');
	buffer_clear(&buffer);
}

UNIT(growth_is_by_doubling)
{
	struct buffer buffer = {0};

	assert_non_null(buffer_reserve(&buffer, 1));
	assert_int_equal(buffer.size, 4096);
	assert_non_null(buffer_reserve(&buffer, 4097));
	assert_int_equal(buffer.size, 8192);
	assert_non_null(buffer_reserve(&buffer, 100000));
	assert_int_equal(buffer.size, 131072);
	buffer_clear(&buffer);
}

UNIT(large_memory_is_given_back_when_empty)
{
	struct buffer buffer = {0};

	assert_non_null(buffer_reserve(&buffer, 65536));
	buffer_commit(&buffer, 65536);
	buffer_consume(&buffer, 65536);
	assert_int_equal(buffer.size, 65536);
	assert_non_null(buffer_reserve(&buffer, 65537));
	buffer_commit(&buffer, 2);
	buffer_consume(&buffer, 1);
	assert_int_equal(buffer.size, 131072);
	buffer_consume(&buffer, 1);
	assert_int_equal(buffer.size, 0);
	assert_null(buffer.data);
}

UNIT(impossible_sizes_are_refused)
{
	struct buffer buffer = {0};

	assert_null(buffer_reserve(&buffer, SIZE_MAX));
	assert_int_equal(buffer_append(&buffer, "abc", 3), 0);
	assert_null(buffer_reserve(&buffer, SIZE_MAX));
	assert_int_equal(buffer_len(&buffer), 3);
	assert_memory_equal(buffer_front(&buffer), "abc", 3);
	buffer_clear(&buffer);
}

UNIT(what_a_socket_takes_leaves_the_buffer)
{
	struct buffer buffer = {0};
	static uint8_t data[1 << 20], seen[1 << 20];
	size_t sent = 0, all = 0, got = 0;
	int pair[2];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(buffer_append(&buffer, data, sizeof(data)), 0);
	while (got < sizeof(data)) {
		ssize_t n;

		/* It never waits, although the socket would. */
		assert_int_equal(buffer_send(&buffer, pair[0], &sent), 0);
		all += sent;
		assert_int_equal(buffer_len(&buffer), sizeof(data) - all);
		n = recv(pair[1], seen + got, sizeof(seen) - got, MSG_DONTWAIT);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(seen, data, sizeof(data));
	assert_int_equal(buffer_append(&buffer, data, 10), 0);
	assert_int_equal(close(pair[1]), 0);
	assert_int_equal(buffer_send(&buffer, pair[0], &sent), -EPIPE);
	assert_int_equal(sent, 0);
	assert_int_equal(buffer_len(&buffer), 10);
	assert_int_equal(close(pair[0]), 0);
	buffer_clear(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(empty_buffer_has_nothing),
		RUN(nothing_can_be_appended),
		RUN(bytes_leave_in_the_order_they_came),
		RUN(room_at_the_front_is_used_before_growing),
		RUN(growth_is_by_doubling),
		RUN(large_memory_is_given_back_when_empty),
		RUN(impossible_sizes_are_refused),
		RUN(what_a_socket_takes_leaves_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
