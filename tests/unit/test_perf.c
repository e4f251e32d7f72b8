/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A measurement of vsock: its figures, and both parts of it over socket pairs. */
/* needs: host/cli/perf_result.c host/cli/perf_run.c host/cli/progress.c */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include "host/cli/perf_run.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/perf/guest.h"

/* ---- figures ---- */

UNIT(percentiles_are_of_the_place_rounded_down)
{
	uint64_t times[] = {50, 10, 40, 20, 30, 60};
	struct perf_figures got;

	perf_latency(times, ARRAY_SIZE(times), &got);
	assert_true(got.run);
	assert_true(got.min == 10 && got.max == 60);
	assert_true(got.p25 == 20); /* place 1.25 */
	assert_true(got.p50 == 30); /* place 2.5 */
	assert_true(got.p75 == 40); /* place 3.75 */
	assert_true(got.p99 == 50); /* place 4.95 */
	perf_latency(times, 1, &got);
	assert_true(got.min == 10 && got.p50 == 10 && got.max == 10);
}

UNIT(the_slowest_throughput_is_the_least)
{
	/* 1 MiB in a second, in half of one, and in a quarter. */
	uint64_t times[] = {NSEC_PER_SEC / 2, NSEC_PER_SEC, NSEC_PER_SEC / 4};
	struct perf_figures got;

	perf_throughput(times, ARRAY_SIZE(times), 1u << 20, &got);
	assert_true(got.min == 1 && got.p50 == 2 && got.max == 4);
	times[0] = 0;
	perf_throughput(times, 1, 1u << 20, &got);
	assert_true(got.max > 0);
}

UNIT(results_have_their_labels)
{
	struct perf_result result = {.bytes = 128u << 20, .check = PERF_PASSED};
	uint64_t times[] = {1500000, 2500000};
	AUTO_FREE char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	perf_latency(times, 2, &result.round_trip);
	perf_throughput(times, 1, 1u << 20, &result.tx);
	perf_print(&result, out);
	(void)fclose(out);
	assert_string_equal(text,
		"\n\nMicrobenchmark Results\n------------------------\n"
		"* Data corruption check: PASSED\n"
		"* Round trip latency of 4096 bytes:\n"
		"\tMin:              1500000ns (1.500ms)\n"
		"\t25th percentile:  1500000ns (1.500ms)\n"
		"\t50th percentile:  1500000ns (1.500ms)\n"
		"\t75th percentile:  1500000ns (1.500ms)\n"
		"\t99th percentile:  1500000ns (1.500ms)\n"
		"\tMax:              2500000ns (2.500ms)\n"
		"* TX (guest -> host, unreliable) throughput of 128 MiB:\n"
		"\tMin:              666.67MiB/s\n"
		"\t25th percentile:  666.67MiB/s\n"
		"\t50th percentile:  666.67MiB/s\n"
		"\t75th percentile:  666.67MiB/s\n"
		"\t99th percentile:  666.67MiB/s\n"
		"\tMax:              666.67MiB/s\n"
		"* RX (host -> guest, unreliable) throughput of 128 MiB: NOT RUN\n"
		"* Single stream unidirectional round trip throughput of 128 MiB: NOT RUN\n"
		"* Multistream (5 connections) unidirectional round trip throughput of 128 MiB: "
		"NOT "
		"RUN\n");
}

/* ---- both parts ---- */

static struct perf_streams ours;
static int theirs[PERF_STREAMS], life[2];
static struct perf_size size;
static struct perf_result result;
static struct postern_error error;
static enum postern_failure failed;

static void connect_all(void)
{
	size = (struct perf_size){
		.round_trips = 20, .bidirectional = 2, .single = 2, .multi = 2, .bytes = 1u << 20};
	for (size_t i = 0; i < PERF_STREAMS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		ours.fds[i] = pair[0];
		theirs[i] = pair[1];
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, life), 0);
}

static void close_theirs(void)
{
	for (size_t i = 0; i < PERF_STREAMS; i++)
		(void)close(theirs[i]);
	(void)close(life[1]);
}

static void close_ours(void)
{
	for (size_t i = 0; i < PERF_STREAMS; i++)
		(void)close(ours.fds[i]);
	(void)close(life[0]);
	postern_error_clear(&error);
	error = (struct postern_error){0};
}

/* The guest's part in a process of its own; guest() says how it went. */
static int with_guest(int (*guest)(void))
{
	int status, r;
	pid_t pid;

	connect_all();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close_ours();
		_exit(guest() == 0 ? 0 : 1);
	}
	close_theirs();
	r = perf_run(&ours, &size, 1, &result, &error);
	failed = error.failure;
	close_ours();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return r;
}

static int good_guest(void)
{
	return perf_serve(theirs, &size, life[1]);
}

UNIT(both_parts_measure_all)
{
	assert_int_equal(with_guest(good_guest), 0);
	assert_int_equal(result.check, PERF_PASSED);
	assert_true(result.round_trip.run && result.tx.run && result.rx.run && result.single.run &&
		    result.multi.run);
	assert_true(result.round_trip.min > 0 && result.multi.min > 0);
	assert_true(result.round_trip.min <= result.round_trip.p99);
	assert_true(result.single.min <= result.single.max);
}

/* Turns the byte of one block that comes, and goes on as a good one. */
static int corrupt(unsigned int at)
{
	struct perf_wait wait = {.until_ns = UINT64_MAX, .life = life[1]};
	uint8_t block[PERF_BLOCK];
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < PERF_WARMUP + size.round_trips; i++) {
		r = perf_take(theirs[PERF_LATENCY], block, sizeof(block), &wait);
		block[4000] ^= i == at;
		if (r == 0)
			r = perf_send(theirs[PERF_LATENCY], block, sizeof(block), &wait);
	}
	return r;
}

static int corrupts_the_pattern(void)
{
	return corrupt(99);
}

static int corrupts_a_packet(void)
{
	return corrupt(110);
}

UNIT(corrupt_data_is_failed)
{
	/* It ends behind that: nothing else was measured, and the check has its word. */
	assert_int_equal(with_guest(corrupts_the_pattern), -ECONNRESET);
	assert_int_equal(result.check, PERF_FAILED);
	assert_true(result.round_trip.run && !result.tx.run);
	assert_int_equal(with_guest(corrupts_a_packet), -ECONNRESET);
	assert_int_equal(result.check, PERF_FAILED);
}

static int silent(void)
{
	char byte;

	return read(life[1], &byte, 1) == 0 ? 0 : -1;
}

static int vanishes(void)
{
	return 0;
}

UNIT(who_does_not_answer_is_given_up_in_time)
{
	uint64_t begin = monotonic_ns();

	assert_int_equal(with_guest(silent), -ETIMEDOUT);
	assert_int_equal(failed, POSTERN_TIMED_OUT);
	assert_int_equal(result.check, PERF_NOT_RUN);
	assert_true(monotonic_ns() - begin >= 100 * NSEC_PER_MSEC);
	assert_true(monotonic_ns() - begin < 5 * NSEC_PER_SEC);
	assert_int_equal(with_guest(vanishes), -ECONNRESET);
	assert_int_equal(failed, POSTERN_ABSENT);
}

/* As good as any up to the latency's end, and then says so. */
static int says(const uint8_t *bytes, size_t n)
{
	struct perf_wait wait = {.until_ns = UINT64_MAX, .life = life[1]};
	int r = corrupt(UINT32_MAX);

	return r == 0 ? perf_send(theirs[PERF_CONTROL], bytes, n, &wait) : r;
}

static int says_single(void)
{
	return says((const uint8_t[]){123}, 1) ?: silent();
}

static int says_nothing_of_ours(void)
{
	return says((const uint8_t[]){0}, 1) ?: silent();
}

UNIT(another_byte_than_awaited_breaks_the_protocol)
{
	assert_int_equal(with_guest(says_single), -EPROTO);
	assert_int_equal(with_guest(says_nothing_of_ours), -EPROTO);
	assert_int_equal(failed, POSTERN_PROTOCOL);
	assert_int_equal(result.check, PERF_PASSED);
}

/* ---- the guest's side of a host that means harm ---- */

static int serve_ends;

static int guest_of(void (*host)(void))
{
	pid_t pid;
	int status;

	connect_all();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close_theirs();
		host();
		_exit(0);
	}
	close_ours();
	serve_ends = perf_serve(theirs, &size, life[1]);
	close_theirs();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return serve_ends;
}

static void leave_at_once(void)
{
}

/* Nothing is sent or taken, and after a while the channel is closed. */
static void stall(void)
{
	(void)usleep(50000);
	(void)close(life[0]);
	(void)usleep(100000);
}

static void close_latency(void)
{
	(void)close(ours.fds[PERF_LATENCY]);
	(void)usleep(100000);
}

UNIT(the_guest_ends_with_its_host)
{
	assert_true(guest_of(leave_at_once) < 0);
	assert_int_equal(guest_of(stall), -ECANCELED);
	assert_int_equal(guest_of(close_latency), -ECONNRESET);
}

/* ---- moving ---- */

UNIT(a_lane_that_stands_still_has_its_time)
{
	int pair[2];
	struct perf_lane lane;
	uint64_t begin = monotonic_ns();

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	lane = (struct perf_lane){.fd = pair[0], .to_send = 64u << 20, .to_take = 1};
	assert_int_equal(perf_move(&lane, 1, PERF_SEND_FIRST, 50 * NSEC_PER_MSEC, -1), -ETIMEDOUT);
	assert_true(monotonic_ns() - begin >= 50 * NSEC_PER_MSEC);
	assert_true(lane.to_send > 0 && lane.to_send < 64u << 20);
	/* What comes first does not wait for the other direction. */
	lane = (struct perf_lane){.fd = pair[1], .to_take = PERF_BLOCK, .to_send = 1};
	assert_int_equal(perf_move(&lane, 1, PERF_TAKE_FIRST, 0, -1), 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(percentiles_are_of_the_place_rounded_down),
		RUN(the_slowest_throughput_is_the_least),
		RUN(results_have_their_labels),
		RUN(both_parts_measure_all),
		RUN(corrupt_data_is_failed),
		RUN(who_does_not_answer_is_given_up_in_time),
		RUN(another_byte_than_awaited_breaks_the_protocol),
		RUN(the_guest_ends_with_its_host),
		RUN(a_lane_that_stands_still_has_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
