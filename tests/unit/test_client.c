/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client and its connection: hello, goodbye, hostile frames, every way to end. */
#include "tests/unit/fake_agent.h"

#include "proto/clock.h"
#include "tests/unit/wire_build.h"

UNIT(hello_says_who_we_are)
{
	const struct postern_options options = {.name = "test 1.0", .max_frame = 9999};
	const Postern__V1__ToAgent *to;
	struct fake fake;

	fake_start(&fake, &options);
	assert_false(postern_client_ready(fake.client));
	assert_null(postern_client_peer(fake.client));
	assert_int_equal(fake_pump(&fake), 0);
	to = fake_take(&fake);
	assert_int_equal(to->kind_case, POSTERN__V1__TO_AGENT__KIND_HELLO);
	assert_int_equal(to->hello->major, POSTERN_MAJOR);
	assert_int_equal(to->hello->minor, POSTERN_MINOR);
	assert_int_equal(to->hello->max_frame, 9999);
	assert_string_equal(to->hello->client, "test 1.0");
	fake_stop(&fake);
}

UNIT(hello_has_defaults_and_a_ceiling)
{
	const struct postern_options options = {.max_frame = UINT32_MAX};
	const Postern__V1__ToAgent *to;
	struct fake fake;

	fake_start(&fake, NULL);
	assert_int_equal(fake_pump(&fake), 0);
	to = fake_take(&fake);
	assert_int_equal(to->hello->max_frame, FRAME_HOST_MAX);
	assert_string_equal(to->hello->client, "libpostern");
	fake_stop(&fake);
	fake_start(&fake, &options);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake_take(&fake)->hello->max_frame, FRAME_CEILING);
	fake_stop(&fake);
}

UNIT(hello_reply_is_told_escaped)
{
	const struct postern_peer *peer;
	struct fake fake;

	fake_ready(&fake, NULL);
	peer = postern_client_peer(fake.client);
	assert_non_null(peer);
	assert_string_equal(peer->agent_version, "9.9\\x1b[1m");
	assert_string_equal(peer->identity, "host");
	assert_true(peer->generation == UINT64_C(0xfedcba9876543210));
	assert_memory_equal(peer->boot_id, "0123456789abcdef", 16);
	fake_stop(&fake);
}

UNIT(hello_byte_by_byte)
{
	struct buffer body = {0}, frame = {0};
	struct fake fake;

	put_number(&body, 1, POSTERN_MAJOR);
	put_message(&frame, 1, &body);
	fake_start(&fake, NULL);
	fake_raw(&fake, &(uint8_t){(uint8_t)buffer_len(&frame)}, 1);
	for (size_t i = 0; i < buffer_len(&frame); i++) {
		assert_int_equal(fake_pump(&fake), 0);
		assert_false(postern_client_ready(fake.client));
		fake_raw(&fake, buffer_front(&frame) + i, 1);
	}
	assert_int_equal(fake_pump(&fake), 0);
	assert_true(postern_client_ready(fake.client));
	buffer_clear(&frame);
	fake_stop(&fake);
}

UNIT(another_major_ends)
{
	struct fake fake;

	fake_start(&fake, NULL);
	fake_hello_of(&fake, POSTERN_MAJOR + 1, 0);
	ENDED(&fake, POSTERN_PROTOCOL);
	assert_non_null(strstr(fake.error.message, "version"));
	fake_stop(&fake);
}

UNIT(a_second_hello_ends)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	fake_hello_of(&fake, POSTERN_MAJOR, 0);
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(nothing_may_come_before_the_hello)
{
	struct fake fake;

	fake_start(&fake, NULL);
	fake_result(&fake, 1, "x", false);
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
	fake_start(&fake, NULL);
	fake_notify(&fake, (char *)"notify.gap");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(goodbye_reasons_are_told_apart)
{
	static const struct {
		Postern__V1__GoodbyeReason reason;
		enum postern_failure failure;
	} cases[] = {
		{POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_REFUSED, POSTERN_REFUSED},
		{POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_STOPPING, POSTERN_ABSENT},
		{POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_BAD_FRAME, POSTERN_PROTOCOL},
		{POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_VERSION, POSTERN_PROTOCOL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int ready = 0; ready < 2; ready++) {
			struct fake fake;

			if (ready)
				fake_ready(&fake, NULL);
			else
				fake_start(&fake, NULL);
			fake_goodbye(&fake, cases[i].reason, (char *)"be\x1bware");
			fake_hang_up(&fake);
			ENDED(&fake, cases[i].failure);
			assert_non_null(strstr(fake.error.message, "be\\x1bware"));
			fake_stop(&fake);
		}
}

UNIT(a_goodbye_without_words)
{
	struct fake fake;

	fake_start(&fake, NULL);
	FAKE_RAW(&fake, "\x02\x22\x00");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(the_end_before_the_hello)
{
	struct fake fake;

	fake_start(&fake, NULL);
	fake_hang_up(&fake);
	ENDED(&fake, POSTERN_ABSENT);
	assert_non_null(strstr(fake.error.message, "before the hello"));
	fake_stop(&fake);
}

UNIT(the_end_after_the_hello)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	fake_hang_up(&fake);
	ENDED(&fake, POSTERN_ABSENT);
	assert_non_null(strstr(fake.error.message, "lost"));
	assert_null(postern_client_peer(fake.client));
	fake_stop(&fake);
}

UNIT(the_end_within_a_frame)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	FAKE_RAW(&fake, "\x10half");
	fake_hang_up(&fake);
	ENDED(&fake, POSTERN_ABSENT);
	fake_stop(&fake);
}

UNIT(the_end_tells_open_calls)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	(void)fake_call(&fake, "system.ping", 0);
	(void)fake_call(&fake, "system.info", 0);
	fake_hang_up(&fake);
	ENDED(&fake, POSTERN_ABSENT);
	assert_int_equal(fake.errors, 2);
	assert_int_equal(fake.answer.failure, POSTERN_ABSENT);
	fake_stop(&fake);
}

UNIT(frames_over_the_limit_end)
{
	const struct postern_options options = {.max_frame = 5000};
	struct fake fake;

	/* Before the hello the limit is smaller, whatever was asked for. */
	fake_start(&fake, &options);
	FAKE_RAW(&fake, "\x81\x20");
	ENDED(&fake, POSTERN_PROTOCOL);
	assert_non_null(strstr(fake.error.message, "over the limit"));
	fake_stop(&fake);
	fake_ready(&fake, &options);
	FAKE_RAW(&fake, "\x88\x27");
	assert_int_equal(fake_pump(&fake), 0);
	fake_stop(&fake);
	fake_ready(&fake, &options);
	FAKE_RAW(&fake, "\x89\x27");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(what_is_no_frame_ends)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	FAKE_RAW(&fake, "\x00");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
	fake_start(&fake, NULL);
	FAKE_RAW(&fake, "HTTP/1.1 400 Bad "
			"Request\r\n\r\n01234567890123456789012345678901234567890123456789");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(hostile_messages_end)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{"\x02\x1a\xff", 3},                 /* a length beyond the frame */
		{"\x01\x0b", 2},                     /* a group */
		{"\x02\x50\x01", 3},                 /* an unknown field alone: an empty frame */
		{"\x06\x1a\x04\x12\x02\xff\xff", 7}, /* a topic that is not UTF-8 */
		{"\x02\x12\x00", 3},                 /* a response without id and outcome */
		{"\x04\x12\x02\x08\x00", 5},         /* an answer to request 0 */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake fake;

		fake_ready(&fake, NULL);
		fake_raw(&fake, cases[i].bytes, cases[i].n);
		ENDED(&fake, POSTERN_PROTOCOL);
		fake_stop(&fake);
	}
}

UNIT(replies_of_too_many_elements_end)
{
	struct buffer bytes = {0}, frame = {0};
	struct fake fake;

	/* Response{error{details{holders{uses}}}}: as deep as a message of ours gets. */
	put_number(&bytes, 3, 1);
	put_message(&frame, 5, &bytes); /* uses */
	for (int i = 0; i < 2000; i++)
		put_bytes(&frame, 5, "", 0);
	bytes = frame;
	frame = (struct buffer){0};
	put_message(&frame, 1, &bytes); /* holders */
	put_message(&bytes, 4, &frame); /* details */
	put_message(&frame, 3, &bytes); /* error */
	put_number(&frame, 1, 1);
	put_message(&bytes, 2, &frame); /* response */
	fake_ready(&fake, NULL);
	(void)fake_call(&fake, "system.ping", 0);
	put_varint(&frame, buffer_len(&bytes));
	put_raw(&frame, buffer_front(&bytes), buffer_len(&bytes));
	fake_raw(&fake, buffer_front(&frame), buffer_len(&frame));
	/* Two thousand are within the limits: an answer as any other. */
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.errors, 1);
	buffer_clear(&bytes);
	buffer_clear(&frame);
	/* More elements than a host takes are not. */
	for (int i = 0; i <= VERIFY_HOST_ELEMENTS; i++)
		put_bytes(&bytes, 1, "", 0);
	put_message(&frame, 4, &bytes);
	put_message(&bytes, 3, &frame);
	put_message(&frame, 2, &bytes);
	put_varint(&bytes, buffer_len(&frame));
	fake_raw(&fake, buffer_front(&bytes), buffer_len(&bytes));
	for (size_t at = 0, n; at < buffer_len(&frame); at += n) {
		n = buffer_len(&frame) - at < 4096 ? buffer_len(&frame) - at : 4096;
		fake_raw(&fake, buffer_front(&frame) + at, n);
		if (at + n < buffer_len(&frame))
			assert_int_equal(fake_pump(&fake), 0);
	}
	ENDED(&fake, POSTERN_PROTOCOL);
	assert_non_null(strstr(fake.error.message, "too many elements"));
	buffer_clear(&bytes);
	buffer_clear(&frame);
	fake_stop(&fake);
}

UNIT(silence_before_the_hello_times_out)
{
	const struct postern_options options = {.connect_ms = 20};
	struct fake fake;

	fake_start(&fake, &options);
	assert_int_equal(fake_pump(&fake), 0);
	while (ms_until(postern_client_deadline(fake.client)) > 0)
		(void)poll(NULL, 0, 5);
	assert_int_equal(postern_client_dispatch(fake.client, &fake.error), -ETIMEDOUT);
	assert_int_equal(fake.error.failure, POSTERN_TIMED_OUT);
	fake_stop(&fake);
}

UNIT(the_deadline_is_that_of_an_open_frame_too)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	assert_true(postern_client_deadline(fake.client) == UINT64_MAX);
	FAKE_RAW(&fake, "\x10half");
	assert_int_equal(fake_pump(&fake), 0);
	assert_in_range(ms_until(postern_client_deadline(fake.client)), 1, FRAME_DEADLINE_MS);
	/* Its first byte came long ago. */
	fake.client->reader.started_ns = monotonic_ns() - FRAME_DEADLINE_MS * NSEC_PER_MSEC;
	assert_int_equal(ms_until(postern_client_deadline(fake.client)), 0);
	assert_true(postern_client_dispatch(fake.client, &fake.error) < 0);
	assert_int_equal(fake.error.failure, POSTERN_PROTOCOL);
	assert_non_null(strstr(fake.error.message, "in time"));
	fake_stop(&fake);
}

UNIT(closing_is_possible_at_any_time)
{
	struct fake fake;

	postern_client_close(NULL);
	fake_start(&fake, NULL);
	fake_stop(&fake);
	fake_ready(&fake, NULL);
	(void)fake_call(&fake, "system.ping", 0);
	fake_stop(&fake);
	/* Closed without a word to the caller's function. */
	assert_int_equal(fake.errors, 0);
}

UNIT(an_error_need_not_be_wanted)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	(void)fake_call(&fake, "system.ping", 0);
	fake_hang_up(&fake);
	assert_true(postern_client_dispatch(fake.client, NULL) < 0);
	assert_int_equal(fake.errors, 1);
	assert_true(fake.answer.failure != POSTERN_DONE);
	fake_stop(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(hello_says_who_we_are),
		RUN(hello_has_defaults_and_a_ceiling),
		RUN(hello_reply_is_told_escaped),
		RUN(hello_byte_by_byte),
		RUN(another_major_ends),
		RUN(a_second_hello_ends),
		RUN(nothing_may_come_before_the_hello),
		RUN(goodbye_reasons_are_told_apart),
		RUN(a_goodbye_without_words),
		RUN(the_end_before_the_hello),
		RUN(the_end_after_the_hello),
		RUN(the_end_within_a_frame),
		RUN(the_end_tells_open_calls),
		RUN(frames_over_the_limit_end),
		RUN(what_is_no_frame_ends),
		RUN(hostile_messages_end),
		RUN(replies_of_too_many_elements_end),
		RUN(silence_before_the_hello_times_out),
		RUN(the_deadline_is_that_of_an_open_frame_too),
		RUN(closing_is_possible_at_any_time),
		RUN(an_error_need_not_be_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
