/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/perf_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/progress.h"
#include "host/common/fail.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

/* What a guest has for each step. */
#define ECHO_MS  100   /* to send a block back */
#define READY_MS 5000  /* to say that its streams are ready */
#define MOVE_MS  10000 /* for each direction of a measurement */

#define PATTERN_SIZE 8
#define PACKET       42 /* what the blocks that are measured consist of */
#define TOLD_EVERY   50 /* round trips */

struct run {
	const struct perf_streams *streams;
	const struct perf_size *size;
	unsigned int factor;
	struct perf_result *result;
	struct postern_error *error;
};

/* ms: that it had. */
static int fail_step(const struct run *run, int r, const char *what, unsigned int ms)
{
	if (r == -ETIMEDOUT)
		return fail(run->error, POSTERN_TIMED_OUT, ETIMEDOUT,
			"timed out waiting %ums for %s", ms * run->factor, what);
	if (r == -ECONNRESET)
		return fail(run->error, POSTERN_ABSENT, ECONNRESET,
			"the guest ended the connection while it was waited for %s", what);
	return fail_errno(run->error, POSTERN_ANSWERED, -r, "%s", what);
}

static uint64_t limit(const struct run *run, uint64_t ms)
{
	return ms * run->factor * NSEC_PER_MSEC;
}

static void tell(uint32_t n, const char *what)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "Finished %u %s measurements", n, what);
	progress_show(text);
}

/* ---- latency ---- */

/* One block there and back; whether it was the same. */
static int round_trip(const struct run *run, const uint8_t *block, uint64_t *ret_ns, bool *ret_same)
{
	int fd = run->streams->fds[PERF_LATENCY];
	uint64_t begin = monotonic_ns();
	struct perf_wait wait = {.until_ns = begin + limit(run, ECHO_MS), .life = -1};
	uint8_t back[PERF_BLOCK];
	int r = perf_send(fd, block, PERF_BLOCK, &wait);

	if (r == 0)
		r = perf_take(fd, back, sizeof(back), &wait);
	if (r < 0)
		return fail_step(run, r, "a packet that is echoed", ECHO_MS);
	*ret_ns = monotonic_ns() - begin;
	*ret_same = memcmp(back, block, sizeof(back)) == 0;
	return 0;
}

static int check_data(const struct run *run)
{
	uint8_t block[PERF_BLOCK];
	bool all_same = true;
	int r = 0;

	progress_show("Checking for data corruption");
	for (unsigned int i = 0; r == 0 && i < PERF_WARMUP; i++) {
		char pattern[PATTERN_SIZE + 8];
		bool same = true;
		uint64_t ns;

		(void)snprintf(pattern, sizeof(pattern), "DAVID%03u", i);
		for (size_t at = 0; at < sizeof(block); at += PATTERN_SIZE)
			memcpy(block + at, pattern, PATTERN_SIZE);
		r = round_trip(run, block, &ns, &same);
		all_same = all_same && same;
	}
	if (r == 0)
		run->result->check = all_same ? PERF_PASSED : PERF_FAILED;
	return r;
}

static int measure_latency(const struct run *run, uint64_t *times)
{
	uint8_t block[PERF_BLOCK];
	uint32_t n = run->size->round_trips;
	int r = check_data(run);

	memset(block, PACKET, sizeof(block));
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		bool same = true;

		r = round_trip(run, block, &times[i], &same);
		if (!same)
			run->result->check = PERF_FAILED;
		if (r == 0 && (i + 1) % TOLD_EVERY == 0)
			tell(i + 1, "round trip latency");
	}
	if (r == 0 && n > 0)
		perf_latency(times, n, &run->result->round_trip);
	return r;
}

/* ---- throughput ---- */

/* Until the guest has said that each of these streams is ready, in any order. */
static int wait_ready(const struct run *run, enum perf_stream first, size_t n)
{
	struct perf_wait wait = {.until_ns = monotonic_ns() + limit(run, READY_MS), .life = -1};
	bool ready[PERF_STREAMS] = {false};

	for (size_t left = n; left > 0; left--) {
		uint8_t said;
		size_t i;
		int r = perf_take(run->streams->fds[PERF_CONTROL], &said, sizeof(said), &wait);

		if (r < 0)
			return fail_step(run, r, "the guest to be ready", READY_MS);
		i = (size_t)(uint8_t)(said - PERF_READY((int)first));
		if (i >= n || ready[i])
			return fail(run->error, POSTERN_PROTOCOL, EPROTO,
				"unexpected magic number from guest: %u", said);
		ready[i] = true;
	}
	return 0;
}

/* The lanes anew, and all their bytes. */
static int move(const struct run *run, struct perf_lane *lanes, enum perf_stream first, size_t n,
	enum perf_order order)
{
	int r;

	for (size_t i = 0; i < n; i++)
		lanes[i] = (struct perf_lane){.fd = run->streams->fds[first + i],
			.to_send = run->size->bytes,
			.to_take = run->size->bytes};
	r = perf_move(lanes, n, order, limit(run, MOVE_MS), -1);
	return r < 0 ? fail_step(run, r, "a measurement's bytes", MOVE_MS) : 0;
}

static int measure_bidirectional(const struct run *run, uint64_t *tx, uint64_t *rx)
{
	uint32_t n = run->size->bidirectional;
	int r = wait_ready(run, PERF_BIDIRECTIONAL, 1);

	for (uint32_t i = 0; r == 0 && i < n; i++) {
		uint64_t begin = monotonic_ns();
		struct perf_lane lane;

		r = move(run, &lane, PERF_BIDIRECTIONAL, 1, PERF_BOTH);
		tx[i] = lane.taken_ns - begin;
		rx[i] = lane.sent_ns - begin;
		tell(i + 1, "bidirectional throughput");
	}
	if (r == 0 && n > 0) {
		perf_throughput(tx, n, run->size->bytes, &run->result->tx);
		perf_throughput(rx, n, run->size->bytes, &run->result->rx);
	}
	return r;
}

/* There and back, on one stream or several: the bytes of one are what counts. */
static int measure_there_and_back(const struct run *run, uint64_t *times, enum perf_stream first,
	size_t n_streams, uint32_t n, struct perf_figures *ret)
{
	struct perf_lane lanes[PERF_STREAMS];
	int r = wait_ready(run, first, n_streams);

	for (uint32_t i = 0; r == 0 && i < n; i++) {
		uint64_t begin = monotonic_ns();

		r = move(run, lanes, first, n_streams, PERF_SEND_FIRST);
		times[i] = monotonic_ns() - begin;
		tell(i + 1, n_streams > 1 ? "multistream round trip throughput"
					  : "round trip throughput");
	}
	if (r == 0 && n > 0)
		perf_throughput(times, n, 2 * run->size->bytes, ret);
	return r;
}

int perf_run(const struct perf_streams *streams, const struct perf_size *size, unsigned int factor,
	struct perf_result *result, struct postern_error *error)
{
	const struct run run = {streams, size, factor, result, error};
	size_t most = size->round_trips;
	AUTO_FREE uint64_t *times = NULL, *others = NULL;
	int r;

	*result = (struct perf_result){.bytes = size->bytes};
	most = size->bidirectional > most ? size->bidirectional : most;
	most = size->single > most ? size->single : most;
	most = size->multi > most ? size->multi : most;
	times = calloc(most + 1, sizeof(*times));
	others = calloc(most + 1, sizeof(*others));
	if (!times || !others)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "the measurement");
	r = measure_latency(&run, times);
	if (r == 0)
		r = measure_bidirectional(&run, times, others);
	if (r == 0)
		r = measure_there_and_back(
			&run, times, PERF_SINGLE, 1, size->single, &result->single);
	if (r == 0)
		r = measure_there_and_back(
			&run, times, PERF_MULTI, PERF_MULTI_STREAMS, size->multi, &result->multi);
	progress_end();
	return r;
}
