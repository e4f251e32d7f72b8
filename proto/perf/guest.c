/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/perf/guest.h"

/* Sends back what comes, block by block. */
static int echo(int fd, uint32_t blocks, const struct perf_wait *wait)
{
	uint8_t block[PERF_BLOCK];
	int r = 0;

	for (; r == 0 && blocks > 0; blocks--) {
		r = perf_take(fd, block, sizeof(block), wait);
		if (r == 0)
			r = perf_send(fd, block, sizeof(block), wait);
	}
	return r;
}

/* Says that the streams are ready, and moves bytes on them so many times. */
static int move(const int *streams, enum perf_stream first, size_t n, enum perf_order order,
	uint32_t times, uint64_t bytes, const struct perf_wait *wait)
{
	struct perf_lane lanes[PERF_STREAMS];
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint8_t ready = PERF_READY((int)first + (int)i);

		r = perf_send(streams[PERF_CONTROL], &ready, sizeof(ready), wait);
	}
	for (; r == 0 && times > 0; times--) {
		for (size_t i = 0; i < n; i++)
			lanes[i] = (struct perf_lane){
				.fd = streams[first + i], .to_send = bytes, .to_take = bytes};
		r = perf_move(lanes, n, order, 0, wait->life);
	}
	return r;
}

int perf_serve(const int *streams, const struct perf_size *size, int life)
{
	/* However long the host takes: it may be stopped, and who asked says when it is over. */
	struct perf_wait wait = {.until_ns = UINT64_MAX, .life = life};
	int r = echo(streams[PERF_LATENCY], PERF_WARMUP + size->round_trips, &wait);

	if (r == 0)
		r = move(streams, PERF_BIDIRECTIONAL, 1, PERF_BOTH, size->bidirectional,
			size->bytes, &wait);
	if (r == 0)
		r = move(
			streams, PERF_SINGLE, 1, PERF_TAKE_FIRST, size->single, size->bytes, &wait);
	if (r == 0)
		r = move(streams, PERF_MULTI, PERF_MULTI_STREAMS, PERF_TAKE_FIRST, size->multi,
			size->bytes, &wait);
	return r;
}
