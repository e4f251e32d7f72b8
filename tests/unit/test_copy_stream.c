/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other side of a copy, when it does nothing. */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "proto/copy/stream.h"

static int ours, theirs;
static struct copy_stream stream;

static void connect_both(void)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	copy_stream_init(&stream, ours);
	assert_int_equal(stream.idle_ms, COPY_IDLE_MS);
	stream.idle_ms = 20;
}

static void close_both(void)
{
	copy_stream_done(&stream);
	(void)close(ours);
	(void)close(theirs);
}

UNIT(who_says_nothing_is_given_up)
{
	const Postern__V1__CopyRecord *record;
	char byte;

	connect_both();
	assert_int_equal(copy_get(&stream, &record), -ETIMEDOUT);
	assert_int_equal(copy_get_data(&stream, &byte, 1), -ETIMEDOUT);
	close_both();
}

UNIT(who_takes_nothing_is_given_up)
{
	static const uint8_t bytes[COPY_PIECE];
	int r = 0;

	connect_both();
	for (int i = 0; r == 0 && i < 1000; i++)
		r = copy_put_data(&stream, 0, bytes, sizeof(bytes));
	assert_int_equal(r, -ETIMEDOUT);
	close_both();
}

UNIT(who_says_something_is_not)
{
	char byte;

	connect_both();
	assert_int_equal(write(theirs, "x", 1), 1);
	assert_int_equal(copy_get_data(&stream, &byte, 1), 1);
	assert_int_equal(shutdown(theirs, SHUT_WR), 0);
	assert_int_equal(copy_get_data(&stream, &byte, 1), -ECONNRESET);
	close_both();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(who_says_nothing_is_given_up),
		RUN(who_takes_nothing_is_given_up),
		RUN(who_says_something_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
