/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Channels inside a client's frames: credit both ways, ends, and agents that keep to neither. */
#include "tests/unit/fake_agent.h"

#include "channels.pb-c.h"
#include "proto/client/ride.h"

static const uint8_t token[POSTERN_TOKEN_SIZE] = "0123456789abcde";

/* What the function was told, in letters, and the bytes. */
static struct {
	char events[64];
	size_t events_n;
	size_t bytes;
	enum postern_failure failure;
	bool close; /* at the next data */
} heard;

static void on_ride(void *ctx, struct postern_ride *ride, enum postern_ride_event event,
	const uint8_t *bytes, size_t len, const struct postern_error *error)
{
	static const char letters[] = {[POSTERN_RIDE_OPEN] = 'o',
		[POSTERN_RIDE_DATA] = 'd',
		[POSTERN_RIDE_ROOM] = 'r',
		[POSTERN_RIDE_END] = 'e',
		[POSTERN_RIDE_CLOSED] = 'c'};

	assert_ptr_equal(ctx, &heard);
	assert_true(heard.events_n + 1 < sizeof(heard.events));
	heard.events[heard.events_n++] = letters[event];
	for (size_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], 'x');
	heard.bytes += len;
	heard.failure = error ? error->failure : POSTERN_DONE;
	if (event == POSTERN_RIDE_DATA && heard.close)
		postern_ride_close(ride);
}

/* In pieces that the socket takes; what the last one does is the test's to see. */
static void fake_channel(struct fake *fake, Postern__V1__ChannelData *data)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	struct buffer out = {0};

	data->has_channel = true;
	if (data->channel == 0)
		data->channel = 7;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_CHANNEL;
	from.channel = data;
	assert_int_equal(frame_append(&out, &from.base, FRAME_CEILING), 0);
	while (buffer_len(&out) > 65536) {
		fake_raw(fake, buffer_front(&out), 65536);
		buffer_consume(&out, 65536);
		assert_int_equal(fake_pump(fake), 0);
	}
	fake_raw(fake, buffer_front(&out), buffer_len(&out));
	buffer_clear(&out);
}

static void fake_data(struct fake *fake, size_t len)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
	uint8_t *bytes = malloc(len);

	memset(bytes, 'x', len);
	data.has_data = true;
	data.data = (ProtobufCBinaryData){.data = bytes, .len = len};
	fake_channel(fake, &data);
	free(bytes);
}

static uint64_t begin(struct fake *fake, struct postern_ride **ret_ride)
{
	const Postern__V1__ToAgent *to;
	Postern__V1__ChannelsOpenRequest *request;

	memset(&heard, 0, sizeof(heard));
	fake_ready(fake, NULL);
	assert_int_equal(postern_ride_start(fake->client, token, on_ride, &heard, ret_ride), 0);
	assert_int_equal(fake_pump(fake), 0);
	do
		to = fake_take(fake);
	while (to->kind_case == POSTERN__V1__TO_AGENT__KIND_HELLO);
	assert_string_equal(to->request->method, "channels.open");
	request = postern__v1__channels_open_request__unpack(
		NULL, to->request->params.len, to->request->params.data);
	assert_int_equal(request->token.len, sizeof(token));
	assert_memory_equal(request->token.data, token, sizeof(token));
	assert_int_equal(request->credit, RIDE_WINDOW);
	postern__v1__channels_open_request__free_unpacked(request, NULL);
	return to->request->id;
}

/* Channel 7, with 1000 bytes of credit: field 1 varint 7, field 2 varint 1000. */
static void open_ride(struct fake *fake, struct postern_ride **ret_ride)
{
	uint64_t id = begin(fake, ret_ride);

	assert_int_equal(postern_ride_room(*ret_ride), 0);
	fake_result(fake, id, "\x08\x07\x10\xe8\x07", false);
	assert_int_equal(fake_pump(fake), 0);
	assert_string_equal(heard.events, "o");
	assert_int_equal(postern_ride_room(*ret_ride), 1000);
}

static const Postern__V1__ChannelData *said(struct fake *fake)
{
	const Postern__V1__ToAgent *to;

	assert_int_equal(fake_pump(fake), 0);
	to = fake_take(fake);
	assert_int_equal(to->kind_case, POSTERN__V1__TO_AGENT__KIND_CHANNEL);
	assert_int_equal(to->channel->channel, 7);
	return to->channel;
}

UNIT(bytes_within_credit)
{
	static uint8_t bytes[5000];
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
	struct postern_ride *ride;
	struct fake fake;

	open_ride(&fake, &ride);
	assert_int_equal(postern_ride_send(ride, bytes, sizeof(bytes)), 1000);
	assert_int_equal(postern_ride_send(ride, bytes, sizeof(bytes)), 0);
	assert_int_equal(said(&fake)->data.len, 1000);
	data.has_credit = true;
	data.credit = 4500;
	fake_channel(&fake, &data);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(heard.events, "or");
	/* In frames that the agent takes. */
	assert_int_equal(postern_ride_send(ride, bytes, sizeof(bytes)), 4500);
	assert_in_range(said(&fake)->data.len, 3000, 4096);
	assert_in_range(said(&fake)->data.len, 1, 1500);
	assert_int_equal(postern_ride_end(ride), 0);
	assert_true(said(&fake)->end);
	assert_int_equal(postern_ride_send(ride, bytes, 1), -EPIPE);
	postern_ride_close(ride);
	assert_true(said(&fake)->closed);
	fake_stop(&fake);
}

UNIT(what_was_taken_is_given_back)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
	struct postern_ride *ride;
	struct fake fake;

	open_ride(&fake, &ride);
	for (int i = 0; i < 9; i++) {
		fake_data(&fake, 8192);
		assert_int_equal(fake_pump(&fake), 0);
	}
	assert_int_equal(heard.bytes, 9 * 8192);
	assert_int_equal(said(&fake)->credit, 8 * 8192);
	data.has_end = data.end = data.has_closed = data.closed = true;
	fake_channel(&fake, &data);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(heard.events, "odddddddddec");
	assert_int_equal(heard.failure, POSTERN_DONE);
	/* Late ones are nobody's. */
	fake_data(&fake, 10);
	assert_int_equal(fake_pump(&fake), 0);
	fake_stop(&fake);
}

UNIT(more_than_the_credit)
{
	struct postern_ride *ride;
	struct fake fake;

	open_ride(&fake, &ride);
	fake_data(&fake, RIDE_WINDOW + 1);
	assert_int_equal(fake_pump(&fake), -EPROTO);
	assert_string_equal(heard.events, "oc");
	assert_int_equal(heard.failure, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(bytes_behind_the_end)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
	struct postern_ride *ride;
	struct fake fake;

	open_ride(&fake, &ride);
	data.has_end = data.end = true;
	fake_channel(&fake, &data);
	fake_data(&fake, 1);
	assert_int_equal(fake_pump(&fake), -EPROTO);
	assert_string_equal(heard.events, "oec");
	fake_stop(&fake);
}

UNIT(a_token_that_is_not_taken)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	struct postern_ride *ride;
	struct fake fake;
	uint64_t id = begin(&fake, &ride);

	error.has_code = true;
	error.code = POSTERN__V1__CODE__NOT_FOUND;
	fake_error(&fake, id, &error);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(heard.events, "c");
	assert_int_equal(heard.failure, POSTERN_ANSWERED);
	fake_stop(&fake);
}

UNIT(closed_before_it_was_open)
{
	struct postern_ride *ride;
	struct fake fake;
	uint64_t id = begin(&fake, &ride);

	postern_ride_close(ride);
	fake_result(&fake, id, "\x08\x07\x10\xe8\x07", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(heard.events, "");
	assert_true(said(&fake)->closed);
	fake_stop(&fake);
}

UNIT(closed_while_it_is_told)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
	struct postern_ride *ride;
	struct fake fake;

	open_ride(&fake, &ride);
	heard.close = true;
	data.has_data = data.has_end = data.has_closed = data.has_credit = true;
	data.data = (ProtobufCBinaryData){.data = (uint8_t *)"xx", .len = 2};
	data.end = data.closed = true;
	data.credit = 5;
	fake_channel(&fake, &data);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(heard.events, "od");
	fake_stop(&fake);
}

UNIT(the_connections_end)
{
	struct postern_ride *first;
	struct fake fake;

	open_ride(&fake, &first);
	fake_hang_up(&fake);
	assert_true(fake_pump(&fake) < 0);
	assert_string_equal(heard.events, "oc");
	assert_int_equal(heard.failure, POSTERN_ABSENT);
	fake_stop(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(bytes_within_credit),
		RUN(what_was_taken_is_given_back),
		RUN(more_than_the_credit),
		RUN(bytes_behind_the_end),
		RUN(a_token_that_is_not_taken),
		RUN(closed_before_it_was_open),
		RUN(closed_while_it_is_told),
		RUN(the_connections_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
