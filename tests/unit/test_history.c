/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The load history as it is read, while the watcher writes and the clock does what it likes. */
/* needs: agent/methods/call.c agent/row.c agent/methods/sample.c */
/* needs: agent/methods/session/system_load_historical.c */
#include "tests/unit/wire_build.h"

#include <sys/mman.h>
#include <unistd.h>

#include "agent/history.h"
#include "agent/methods/prototypes.h"
#include "agent/session/session.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/verify.h"

#define CAPACITY 1000

static int run(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	return system_load_historical(call,
		(const Postern__V1__SystemLoadHistoricalRequest *)request,
		(Postern__V1__SystemLoadHistoricalReply *)reply);
}

const struct handler handlers[METHOD_COUNT] = {
	[METHOD_system_load_historical] =
		{.request = &postern__v1__system_load_historical_request__descriptor,
			.reply = &postern__v1__system_load_historical_reply__descriptor,
			.run = run},
};

static struct session session;
static struct arena arena;
static struct call call;
static struct buffer frames;
static size_t parts;
static unsigned int write_at_part; /* the watcher writes this many samples at each part */
static uint32_t written_time;

/* All points of all parts, and the error if there was one. */
static uint64_t times[2 * CAPACITY];
static double loads[2 * CAPACITY];
static size_t times_n;
static int code;

static void add_sample(uint32_t time_s)
{
	struct history_head head;
	struct load_sample sample = {.time_s = time_s, .load = {205}};
	off_t at;
	int fd = session.fds[SESSION_FD_HISTORY];

	assert_int_equal(pread(fd, &head, sizeof(head), 0), sizeof(head));
	at = (off_t)(sizeof(head) + head.written++ % head.capacity * sizeof(sample));
	assert_int_equal(pwrite(fd, &sample, sizeof(sample), at), sizeof(sample));
	assert_int_equal(pwrite(fd, &head, sizeof(head), 0), sizeof(head));
}

static int emit(struct call *of, bool last)
{
	struct frame_reader reader = {.in = frames, .limit = of->max_frame};
	const Postern__V1__FromAgent *from;
	const Postern__V1__SystemLoadHistoricalReply *reply;
	const char *why = "";
	const uint8_t *body;
	size_t len;

	(void)last;
	assert_int_equal(frame_next(&reader, &body, &len), 1);
	from = (const Postern__V1__FromAgent *)verify_unpack(
		&postern__v1__from_agent__descriptor, body, len, &verify_host_limits, &arena, &why);
	assert_non_null(from);
	buffer_clear(&frames);
	if (from->response->outcome_case == POSTERN__V1__RESPONSE__OUTCOME_ERROR) {
		code = (int)from->response->error->code;
		return 0;
	}
	reply = (const Postern__V1__SystemLoadHistoricalReply *)verify_unpack(
		&postern__v1__system_load_historical_reply__descriptor, from->response->result.data,
		from->response->result.len, &verify_host_limits, &arena, &why);
	assert_non_null(reply);
	for (size_t i = 0; i < reply->n_points; i++) {
		loads[times_n] = reply->points[i]->load1;
		times[times_n++] = reply->points[i]->time_s;
	}
	parts++;
	for (unsigned int i = 0; i < write_at_part; i++)
		add_sample(written_time);
	return 0;
}

static int set_up(void **state)
{
	struct history_head head = {.magic = HISTORY_MAGIC, .interval_s = 1, .capacity = CAPACITY};
	int fd = memfd_create("history", MFD_CLOEXEC);

	(void)state;
	session.fds[SESSION_FD_HISTORY] = fd;
	arena_init(&arena, 16 * ARENA_REQUEST_MAX);
	call = (struct call){.arena = &arena,
		.method = METHOD_system_load_historical,
		.max_frame = 1 << 20,
		.program = &session,
		.out = &frames,
		.emit = emit};
	parts = times_n = 0;
	write_at_part = 0;
	code = 0;
	return write(fd, &head, sizeof(head)) == (ssize_t)sizeof(head) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	buffer_clear(&frames);
	arena_done(&arena);
	return close(session.fds[SESSION_FD_HISTORY]);
}

UNIT(what_was_taken_before_the_clock_was_set_back_and_after_it_is_there)
{
	for (uint32_t i = 0; i < 10; i++)
		add_sample(5000 + i);
	for (uint32_t i = 0; i < 10; i++)
		add_sample(1000 + i);
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	assert_int_equal(times_n, 20);
	assert_int_equal(times[9], 5009);
	assert_int_equal(times[10], 1000);
	assert_int_equal(times[19], 1009);
}

UNIT(a_clock_that_was_far_ahead_hides_nothing)
{
	add_sample(4000000000u);
	for (uint32_t i = 0; i < 10; i++)
		add_sample(1000 + i);
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	assert_int_equal(times_n, 11);
	assert_int_equal(times[10], 1009);
}

/* Between two parts the watcher overwrites what has not been read yet. */
UNIT(what_is_overwritten_meanwhile_is_left_out_and_the_rest_is_not)
{
	for (uint32_t i = 0; i < CAPACITY + 500; i++)
		add_sample(10000 + i);
	write_at_part = 400;
	written_time = 99999;
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	assert_true(parts > 1);
	assert_int_equal(times[0], 10501);
	/* The newest that was there at the start is, and nothing of what came later. */
	assert_int_equal(times[times_n - 1], 10000 + CAPACITY + 499);
	for (size_t i = 1; i < times_n; i++)
		assert_true(times[i] > times[i - 1]);
	assert_in_range(times_n, 257, CAPACITY - 100);
}

UNIT(parts_fit_the_frames_that_the_caller_takes)
{
	for (uint32_t i = 0; i < 500; i++)
		add_sample(4000000000u + i);
	call.max_frame = 4096;
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	assert_int_equal(code, 0);
	assert_int_equal(times_n, 500);
}

/* Six times 2.05 divided by six is not 2.05. */
UNIT(an_average_of_equal_values_is_this_value)
{
	Postern__V1__SystemLoadHistoricalRequest request =
		POSTERN__V1__SYSTEM_LOAD_HISTORICAL_REQUEST__INIT;
	uint8_t params[64];
	size_t len;

	for (uint32_t i = 0; i < 6; i++)
		add_sample(7200 + i);
	request.has_step_s = request.has_aggregation = true;
	request.step_s = 3600;
	request.aggregation = POSTERN__V1__AGGREGATION__AVERAGE;
	len = postern__v1__system_load_historical_request__pack(&request, params);
	assert_int_equal(dispatch(&call, params, len), 0);
	assert_int_equal(times_n, 1);
	assert_true(loads[0] == 2.05);
}

int main(void)
{
#define HISTORY_TEST(name)                                                                         \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
		HISTORY_TEST(what_was_taken_before_the_clock_was_set_back_and_after_it_is_there),
		HISTORY_TEST(a_clock_that_was_far_ahead_hides_nothing),
		HISTORY_TEST(what_is_overwritten_meanwhile_is_left_out_and_the_rest_is_not),
		HISTORY_TEST(parts_fit_the_frames_that_the_caller_takes),
		HISTORY_TEST(an_average_of_equal_values_is_this_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
