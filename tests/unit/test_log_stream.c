/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of a guest's log, also of a guest that means harm. */
/* needs: host/cli/log_stream.c */
#include "tests/unit/unit.h"

#include <sys/socket.h>

#include "host/cli/log_stream.h"
#include "proto/buffer.h"
#include "proto/cleanup.h"
#include "proto/limits.h"

static struct log_stream stream;
static int guest;

static void begin(void)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	log_stream_init(&stream, pair[0]);
	guest = pair[1];
}

static void end(void)
{
	log_stream_done(&stream);
	guest = fd_close(guest);
}

static void append_entry(struct buffer *out, const char *message)
{
	Postern__V1__LogRecord record = POSTERN__V1__LOG_RECORD__INIT;
	Postern__V1__LogEntry entry = POSTERN__V1__LOG_ENTRY__INIT;

	record.kind_case = POSTERN__V1__LOG_RECORD__KIND_ENTRY;
	record.entry = &entry;
	entry.has_message = entry.has_priority = true;
	entry.priority = 3;
	entry.message.data = (uint8_t *)message;
	entry.message.len = strlen(message);
	assert_int_equal(frame_append(out, &record.base, LOG_RECORD_MAX), 0);
}

UNIT(records_in_pieces)
{
	struct buffer out = {0};
	struct log_record got;
	size_t n = 0;

	begin();
	append_entry(&out, "one");
	append_entry(&out, "two");
	for (size_t i = 0; i < buffer_len(&out); i++) {
		assert_int_equal(write(guest, buffer_front(&out) + i, 1), 1);
		while (log_stream_next(&stream, &got) > 0) {
			assert_int_equal(got.record->entry->message.len, 3);
			n++;
		}
	}
	assert_int_equal(n, 2);
	assert_int_equal(log_stream_next(&stream, &got), 0);
	guest = fd_close(guest);
	assert_int_equal(log_stream_next(&stream, &got), -ECONNRESET);
	buffer_clear(&out);
	end();
}

/* Good records of which some bytes are others: each is refused, or one of a known kind in bounds.
 */
UNIT(broken_bytes)
{
	struct dice dice = dice_new("records");

	for (int i = 0; i < 5000; i++) {
		struct buffer out = {0};
		struct log_record got;
		int r = 0;

		begin();
		for (int j = 0; j < 4; j++)
			append_entry(&out, "a message of some length");
		for (uint64_t j = dice_below(&dice, 6); j > 0; j--)
			buffer_front(&out)[dice_below(&dice, buffer_len(&out))] =
				(uint8_t)dice_roll(&dice);
		assert_true(write(guest, buffer_front(&out), buffer_len(&out)) > 0);
		guest = fd_close(guest);
		while ((r = log_stream_next(&stream, &got)) > 0) {
			assert_true(got.len <= LOG_RECORD_MAX);
			assert_true(got.record->kind_case >= POSTERN__V1__LOG_RECORD__KIND_ENTRY &&
				    got.record->kind_case <= POSTERN__V1__LOG_RECORD__KIND_END);
		}
		assert_true(r == -EBADMSG || r == -ECONNRESET);
		buffer_clear(&out);
		end();
	}
}

UNIT(a_length_over_the_limit_is_not_waited_for)
{
	static const uint8_t lengths[][5] = {
		{0x81, 0x80, 0x02}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0x00}, {0x80, 0x00}};
	struct log_record got;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		begin();
		assert_int_equal(write(guest, lengths[i], 5), 5);
		assert_int_equal(log_stream_next(&stream, &got), -EBADMSG);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(records_in_pieces),
		RUN(broken_bytes),
		RUN(a_length_over_the_limit_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
