/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames on a stream: every form of a length, every way of being cut. */
#include "tests/unit/unit.h"

#include <fcntl.h>

#include "envelope.pb-c.h"
#include "proto/clock.h"
#include "proto/frame.h"
#include "proto/limits.h"

/* A reader at the end of a pipe. */
struct pipe_reader {
	struct frame_reader reader;
	int fds[2];
};

static struct pipe_reader pipe_reader_new(size_t limit)
{
	struct pipe_reader p = {.reader.limit = limit};

	assert_int_equal(pipe2(p.fds, O_NONBLOCK | O_CLOEXEC), 0);
	(void)fcntl(p.fds[1], F_SETPIPE_SZ, 1 << 20);
	return p;
}

static void pipe_reader_free(struct pipe_reader *p)
{
	frame_reader_done(&p->reader);
	(void)close(p->fds[0]);
	(void)close(p->fds[1]);
}

static void feed(struct pipe_reader *p, const void *bytes, size_t n)
{
	size_t have = buffer_len(&p->reader.in) + n;

	assert_int_equal(write(p->fds[1], bytes, n), n);
	while (buffer_len(&p->reader.in) < have)
		assert_true(frame_read(&p->reader, p->fds[0]) > 0);
}

/* What frame_next() says about these first bytes. */
static int first_word(const void *bytes, size_t n, size_t limit)
{
	struct pipe_reader p = pipe_reader_new(limit);
	const uint8_t *body;
	size_t len;
	int r;

	feed(&p, bytes, n);
	r = frame_next(&p.reader, &body, &len);
	pipe_reader_free(&p);
	return r;
}

#define FIRST(bytes, limit) first_word(bytes, sizeof(bytes) - 1, limit)

UNIT(zero_is_no_length)
{
	assert_int_equal(FIRST("\x00", 100), -EBADMSG);
	assert_int_equal(FIRST("\x80\x00", 100), -EBADMSG);
	assert_int_equal(FIRST("\x80\x80\x80\x80\x00", 100), -EBADMSG);
}

UNIT(over_long_lengths_are_refused)
{
	assert_int_equal(FIRST("\x81\x00z", 100), -EBADMSG);
	assert_int_equal(FIRST("\xff\x80\x00z", 100), -EBADMSG);
	assert_int_equal(FIRST("\x81\x80\x80\x80\x00z", 100), -EBADMSG);
}

UNIT(six_bytes_are_refused_at_the_fifth)
{
	assert_int_equal(FIRST("\x80\x80\x80\x80\x80", 100), -EBADMSG);
	assert_int_equal(FIRST("\xff\xff\xff\xff\xff\x01", 100), -EBADMSG);
}

UNIT(more_than_32_bits_are_refused)
{
	assert_int_equal(FIRST("\x80\x80\x80\x80\x10", SIZE_MAX), -EBADMSG);
	assert_int_equal(FIRST("\xff\xff\xff\xff\x1f", SIZE_MAX), -EBADMSG);
	assert_int_equal(FIRST("\xff\xff\xff\xff\x0f", SIZE_MAX), 0);
	assert_int_equal(FIRST("\xff\xff\xff\xff\x0f", 1 << 20), -EMSGSIZE);
}

UNIT(a_partial_length_waits)
{
	assert_int_equal(FIRST("\x80", 100), 0);
	assert_int_equal(FIRST("\x80\x80\x80\x80", 100), 0);
}

UNIT(limit_counts_the_body_only)
{
	uint8_t frame[FRAME_HEADER_MAX + 301] = {0};

	for (uint32_t len = 299; len <= 301; len++) {
		size_t header = frame_header(frame, len);

		assert_int_equal(first_word(frame, header + len, 300), len <= 300 ? 1 : -EMSGSIZE);
		/* The length alone is enough to refuse. */
		assert_int_equal(first_word(frame, header, 300), len <= 300 ? 0 : -EMSGSIZE);
	}
}

UNIT(headers_are_the_shortest_form)
{
	static const struct {
		uint32_t len;
		size_t size;
	} cases[] = {{1, 1}, {127, 1}, {128, 2}, {16383, 2}, {16384, 3}, {2097151, 3}, {2097152, 4},
		{268435455, 4}, {268435456, 5}, {UINT32_MAX, 5}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t header[FRAME_HEADER_MAX];

		assert_int_equal(frame_header(header, cases[i].len), cases[i].size);
		assert_int_equal(header[cases[i].size - 1] & 0x80, 0);
		assert_int_equal(first_word(header, cases[i].size, UINT32_MAX), 0);
		assert_int_equal(first_word(header, cases[i].size, cases[i].len - 1), -EMSGSIZE);
	}
}

UNIT(frames_survive_every_cut)
{
	uint8_t bytes[FRAME_HEADER_MAX + 200];
	size_t header = frame_header(bytes, 200), n = header + 200;

	for (size_t i = 0; i < 200; i++)
		bytes[header + i] = (uint8_t)i;
	for (size_t cut = 1; cut < n; cut++) {
		struct pipe_reader p = pipe_reader_new(200);
		const uint8_t *body;
		size_t len;

		feed(&p, bytes, cut);
		assert_int_equal(frame_next(&p.reader, &body, &len), 0);
		feed(&p, bytes + cut, n - cut);
		assert_int_equal(frame_next(&p.reader, &body, &len), 1);
		assert_int_equal(len, 200);
		assert_memory_equal(body, bytes + header, 200);
		assert_int_equal(frame_next(&p.reader, &body, &len), 0);
		pipe_reader_free(&p);
	}
}

UNIT(many_frames_come_in_one_read)
{
	struct pipe_reader p = pipe_reader_new(100);
	uint8_t bytes[3000];
	const uint8_t *body;
	size_t len, n = 0;

	for (uint8_t i = 1; i <= 50; i++) {
		bytes[n++] = i;
		memset(bytes + n, i, i);
		n += i;
	}
	bytes[n++] = 9; /* and the beginning of one more */
	feed(&p, bytes, n);
	for (uint8_t i = 1; i <= 50; i++) {
		assert_int_equal(frame_next(&p.reader, &body, &len), 1);
		assert_int_equal(len, i);
		assert_int_equal(body[0], i);
		assert_int_equal(body[len - 1], i);
	}
	assert_int_equal(frame_next(&p.reader, &body, &len), 0);
	assert_int_equal(buffer_len(&p.reader.in), 1);
	pipe_reader_free(&p);
}

UNIT(memory_follows_the_bytes_not_the_length)
{
	struct pipe_reader p = pipe_reader_new(FRAME_CEILING);
	static uint8_t zeroes[4096];
	uint8_t header[FRAME_HEADER_MAX];
	size_t n = frame_header(header, FRAME_CEILING), came = n;
	const uint8_t *body;
	size_t len;

	feed(&p, header, n);
	assert_int_equal(frame_next(&p.reader, &body, &len), 0);
	assert_int_equal(p.reader.in.size, 4096);
	for (int i = 0; i < 100; i++) {
		feed(&p, zeroes, sizeof(zeroes));
		came += sizeof(zeroes);
		assert_int_equal(frame_next(&p.reader, &body, &len), 0);
		assert_true(p.reader.in.size <= 4 * came + 8192);
	}
	pipe_reader_free(&p);
}

UNIT(time_runs_only_while_a_frame_is_incomplete)
{
	struct pipe_reader p = pipe_reader_new(100);
	uint64_t before = monotonic_ns(), started;
	const uint8_t *body;
	size_t len;

	assert_int_equal(p.reader.started_ns, 0);
	feed(&p,
		"\x03"
		"a",
		2);
	assert_int_equal(frame_next(&p.reader, &body, &len), 0);
	started = p.reader.started_ns;
	assert_true(started >= before && started <= monotonic_ns());
	feed(&p, "b", 1);
	assert_int_equal(frame_next(&p.reader, &body, &len), 0);
	assert_int_equal(p.reader.started_ns, started); /* not the last byte's time */
	feed(&p, "c", 1);
	assert_int_equal(frame_next(&p.reader, &body, &len), 1);
	assert_int_equal(p.reader.started_ns, 0);
	feed(&p, "\x01x\x02", 3);
	assert_int_equal(frame_next(&p.reader, &body, &len), 1);
	assert_int_equal(p.reader.started_ns, 0);
	assert_int_equal(frame_next(&p.reader, &body, &len), 0);
	assert_true(p.reader.started_ns >= started);
	pipe_reader_free(&p);
}

UNIT(reading_tells_nothing_end_and_failure_apart)
{
	struct pipe_reader p = pipe_reader_new(100);

	assert_int_equal(frame_read(&p.reader, p.fds[0]), -EAGAIN);
	assert_int_equal(p.reader.started_ns, 0);
	assert_int_equal(frame_read(&p.reader, -1), -EBADF);
	(void)close(p.fds[1]);
	p.fds[1] = -1;
	assert_int_equal(frame_read(&p.reader, p.fds[0]), 0);
	pipe_reader_free(&p);
}

UNIT(appended_frames_can_be_read)
{
	Postern__V1__Goodbye goodbye = POSTERN__V1__GOODBYE__INIT, *back;
	struct pipe_reader p = pipe_reader_new(4096);
	struct buffer out = {0};
	const uint8_t *body;
	size_t len;
	char text[301];

	memset(text, 'x', 300);
	text[300] = '\0';
	goodbye.message = text;
	assert_int_equal(frame_append(&out, &goodbye.base, 4096), 0);
	assert_int_equal(frame_append(&out, &goodbye.base, 4096), 0);
	feed(&p, buffer_front(&out), buffer_len(&out));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(frame_next(&p.reader, &body, &len), 1);
		back = postern__v1__goodbye__unpack(NULL, len, body);
		assert_non_null(back);
		assert_string_equal(back->message, text);
		postern__v1__goodbye__free_unpacked(back, NULL);
	}
	buffer_clear(&out);
	pipe_reader_free(&p);
}

UNIT(appending_keeps_the_limit)
{
	Postern__V1__Goodbye goodbye = POSTERN__V1__GOODBYE__INIT;
	struct buffer out = {0};
	size_t len;

	/* An empty message would be a frame of length 0. */
	assert_int_equal(frame_append(&out, &goodbye.base, 4096), -EMSGSIZE);
	goodbye.message = (char *)"hello";
	len = postern__v1__goodbye__get_packed_size(&goodbye);
	assert_int_equal(frame_append(&out, &goodbye.base, len - 1), -EMSGSIZE);
	assert_int_equal(buffer_len(&out), 0);
	assert_int_equal(frame_append(&out, &goodbye.base, len), 0);
	assert_int_equal(buffer_len(&out), len + 1);
	buffer_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(zero_is_no_length),
		RUN(over_long_lengths_are_refused),
		RUN(six_bytes_are_refused_at_the_fifth),
		RUN(more_than_32_bits_are_refused),
		RUN(a_partial_length_waits),
		RUN(limit_counts_the_body_only),
		RUN(headers_are_the_shortest_form),
		RUN(frames_survive_every_cut),
		RUN(many_frames_come_in_one_read),
		RUN(memory_follows_the_bytes_not_the_length),
		RUN(time_runs_only_while_a_frame_is_incomplete),
		RUN(reading_tells_nothing_end_and_failure_apart),
		RUN(appended_frames_can_be_read),
		RUN(appending_keeps_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
