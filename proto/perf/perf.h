/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A measurement of vsock, of which host and guest each do a part: what both have to know, and how
 * bytes are moved. The guest opens nine streams. On PERF_LATENCY it sends back each block; before
 * each later part it says one byte for each of its streams on PERF_CONTROL, and then both move so
 * many bytes on these, so many times: both ways at once, or to the guest and then back.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PERF_PORT  8500 /* of the host, who listens */
#define PERF_FIRST 8501 /* the guest's port of the first stream; the others follow */

enum perf_stream {
	PERF_CONTROL,
	PERF_LATENCY,
	PERF_SINGLE,
	PERF_MULTI,
	PERF_MULTI_LAST = PERF_MULTI + 4,
	PERF_BIDIRECTIONAL,
	PERF_STREAMS
};

#define PERF_MULTI_STREAMS (PERF_MULTI_LAST - PERF_MULTI + 1)
#define PERF_READY(stream) ((uint8_t)(123 + (stream)-PERF_SINGLE)) /* what the guest says */

#define PERF_BLOCK  4096 /* bytes that are sent or taken at once */
#define PERF_WARMUP 100  /* blocks of a pattern, before those that are measured */
#define PERF_ID     4    /* bytes that a stream begins with where its port is not seen */

struct perf_size {
	uint32_t round_trips, bidirectional, single, multi;
	uint64_t bytes; /* in each direction of one measurement */
};

/* What is measured where nobody says otherwise. */
#define PERF_SIZE_DEFAULT                                                                          \
	{                                                                                          \
		.round_trips = 10000, .bidirectional = 100, .single = 100, .multi = 50,            \
		.bytes = UINT64_C(128) << 20                                                       \
	}

/* What ends a wait besides the streams themselves. */
struct perf_wait {
	uint64_t until_ns; /* CLOCK_MONOTONIC; UINT64_MAX: never */
	int life;          /* borrowed: something is to be read there, or its end; -1: none */
};

/* All of these block; fds are non-blocking. 0; -ETIMEDOUT; -ECANCELED: by wait->life; -ECONNRESET:
 * the other side has ended the stream; or -errno. */
int perf_send(int fd, const void *bytes, size_t len, const struct perf_wait *wait);
int perf_take(int fd, void *bytes, size_t len, const struct perf_wait *wait);

struct perf_lane {
	int fd;                     /* borrowed */
	uint64_t to_send, to_take;  /* bytes */
	uint64_t sent_ns, taken_ns; /* when that was done, CLOCK_MONOTONIC */
	uint64_t until_ns;          /* for the direction at hand */
};

enum perf_order { PERF_SEND_FIRST, PERF_TAKE_FIRST, PERF_BOTH };

/* Moves all bytes of all lanes, each direction of a lane within limit_ns (0: for as long as it
 * takes). Lanes do not wait for each other. */
int perf_move(
	struct perf_lane *lanes, size_t n, enum perf_order order, uint64_t limit_ns, int life);
