/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time as 64-bit nanoseconds. Deadlines are always CLOCK_MONOTONIC: a stepped wall clock never
 * moves one. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* The time left until deadline (CLOCK_MONOTONIC ns) in milliseconds for poll(): rounded up, 0 when
 * it has passed, at most one hour. */
static inline int ms_until(uint64_t deadline)
{
	uint64_t now = monotonic_ns();
	uint64_t ms = deadline <= now ? 0 : (deadline - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;

	return ms > 3600000 ? 3600000 : (int)ms;
}
