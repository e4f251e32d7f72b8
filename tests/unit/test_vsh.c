/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of vsh and vshd, as they come and as they are made. */
#include "unit.h"

#include <sys/socket.h>

#include "proto/arena.h"
#include "proto/vsh.h"
#include "vsh.pb-c.h"

static int pair[2];
static struct vsh_reader reader;

static int begin(void **state)
{
	(void)state;
	memset(&reader, 0, sizeof(reader));
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
}

static int end(void **state)
{
	(void)state;
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}

static void put(const void *bytes, size_t len)
{
	assert_int_equal(send(pair[1], bytes, len, 0), len);
}

static void put_frame(uint32_t len, uint8_t byte)
{
	uint8_t frame[VSH_HEADER + VSH_FRAME_MAX] = {(uint8_t)len, (uint8_t)(len >> 8)};

	memset(frame + VSH_HEADER, byte, len);
	put(frame, VSH_HEADER + len);
}

static void expect_frame(uint32_t want, uint8_t byte)
{
	const uint8_t *body;
	size_t len;

	assert_int_equal(vsh_next(&reader, &body, &len), 1);
	assert_int_equal(len, want);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(body[i], byte);
}

static int next(void)
{
	const uint8_t *body;
	size_t len;

	return vsh_next(&reader, &body, &len);
}

UNIT(frames_come_in_pieces_of_any_size)
{
	static const uint8_t frame[] = {3, 0, 0, 0, 'a', 'a', 'a'};

	assert_int_equal(vsh_read(&reader, pair[0]), -EAGAIN);
	for (size_t i = 0; i < sizeof(frame); i++) {
		assert_int_equal(next(), 0);
		put(frame + i, 1);
		assert_int_equal(vsh_read(&reader, pair[0]), 1);
	}
	expect_frame(3, 'a');
	assert_int_equal(next(), 0);
}

UNIT(several_come_at_once)
{
	put_frame(0, 0);
	put_frame(VSH_FRAME_MAX, 'b');
	put_frame(1, 'c');
	assert_true(vsh_read(&reader, pair[0]) > 0);
	expect_frame(0, 0);
	expect_frame(VSH_FRAME_MAX, 'b');
	expect_frame(1, 'c');
	assert_int_equal(next(), 0);
}

/* However many come, there is room for the next once there is no whole one. */
UNIT(the_longest_ones_one_after_another)
{
	int sent = 0, got = 0;

	while (got < 100) {
		if (sent < 100 && sent - got < 8)
			put_frame(VSH_FRAME_MAX, (uint8_t)sent++);
		else
			assert_true(vsh_read(&reader, pair[0]) > 0);
		for (const uint8_t *body = NULL; got < sent;) {
			size_t len;

			if (vsh_next(&reader, &body, &len) == 0)
				break;
			assert_int_equal(len, VSH_FRAME_MAX);
			assert_int_equal(body[0], (uint8_t)got);
			assert_int_equal(body[len - 1], (uint8_t)got++);
		}
	}
}

UNIT(a_longer_one_is_refused_by_its_length)
{
	static const uint8_t lengths[][4] = {
		{0x01, 0x10, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0x80}, {0, 0, 1, 0}};

	for (size_t i = 0; i < 4; i++) {
		reader.at = reader.end = 0;
		put(lengths[i], 4);
		assert_int_equal(vsh_read(&reader, pair[0]), 4);
		assert_int_equal(next(), -EMSGSIZE);
		assert_int_equal(next(), -EMSGSIZE);
	}
}

UNIT(the_end_of_the_stream)
{
	put_frame(1, 'a');
	assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
	assert_int_equal(vsh_read(&reader, pair[0]), 5);
	assert_int_equal(vsh_read(&reader, pair[0]), 0);
	expect_frame(1, 'a');
}

static int append(struct buffer *out, size_t len)
{
	static uint8_t bytes[2 * VSH_FRAME_MAX];
	Postern__Vsh__HostMessage message = POSTERN__VSH__HOST_MESSAGE__INIT;
	Postern__Vsh__DataMessage data = POSTERN__VSH__DATA_MESSAGE__INIT;

	data.has_stream = data.has_data = true;
	data.stream = POSTERN__VSH__STDIO_STREAM__STDOUT_STREAM;
	data.data = (ProtobufCBinaryData){.len = len, .data = bytes};
	message.msg_case = POSTERN__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE;
	message.data_message = &data;
	return vsh_append(out, &message.base);
}

UNIT(what_is_made_can_be_read)
{
	const Postern__Vsh__HostMessage *message;
	struct buffer out = {0}, full = {0};
	struct arena arena;
	const uint8_t *body;
	const char *why;
	size_t len;

	arena_init(&arena, 1 << 16);
	assert_int_equal(append(&out, VSH_DATA_MAX), 0);
	/* Besides the bytes there are tag and length, twice, and the stream's number. */
	assert_int_equal(append(&full, VSH_FRAME_MAX - 8), 0);
	assert_int_equal(buffer_len(&full), VSH_HEADER + VSH_FRAME_MAX);
	assert_int_equal(append(&out, VSH_FRAME_MAX - 7), -EMSGSIZE);
	assert_int_equal(append(&out, VSH_FRAME_MAX), -EMSGSIZE);
	put(buffer_front(&out), buffer_len(&out));
	assert_int_equal(vsh_read(&reader, pair[0]), buffer_len(&out));
	assert_int_equal(vsh_next(&reader, &body, &len), 1);
	message = (const Postern__Vsh__HostMessage *)verify_unpack(
		&postern__vsh__host_message__descriptor, body, len, &vsh_limits, &arena, &why);
	assert_non_null(message);
	assert_int_equal(message->data_message->data.len, VSH_DATA_MAX);
	assert_int_equal(next(), 0);
	buffer_clear(&out);
	buffer_clear(&full);
	arena_done(&arena);
}

UNIT(sizes_of_terminals)
{
	assert_true(vsh_is_size(1, 1) && vsh_is_size(65535, 65535) && vsh_is_size(24, 80));
	assert_false(vsh_is_size(0, 80) || vsh_is_size(24, 0) || vsh_is_size(-1, 80));
	assert_false(vsh_is_size(65536, 80) || vsh_is_size(24, 65536) || vsh_is_size(24, -65535));
}

#define WITH_PAIR(name)                                                                            \
	{                                                                                          \
#name, test_##name, begin, end, NULL                                               \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(frames_come_in_pieces_of_any_size),
		WITH_PAIR(several_come_at_once),
		WITH_PAIR(the_longest_ones_one_after_another),
		WITH_PAIR(a_longer_one_is_refused_by_its_length),
		WITH_PAIR(the_end_of_the_stream),
		WITH_PAIR(what_is_made_can_be_read),
		RUN(sizes_of_terminals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
