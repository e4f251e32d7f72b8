/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Measures how fast what is opened can be read and written: one operation after the other. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disks.pb-c.h"

#define MEASURE_LARGE (UINT64_C(1) << 20) /* bytes of one sequential operation */
#define MEASURE_SMALL (UINT64_C(4) << 10) /* ... and of one that goes anywhere */

struct disk_measure {
	int fd;               /* borrowed */
	bool direct;          /* it was opened with O_DIRECT */
	uint64_t size;        /* bytes of it that are used, at least MEASURE_LARGE */
	uint64_t duration_ns; /* of a phase, at most */
	uint8_t *buffer;      /* MEASURE_LARGE bytes, aligned for O_DIRECT; borrowed */
	/* Called a few times a second: so long the phase has taken. What it returns below 0 ends
	 * it. */
	int (*progress)(void *ctx, Postern__V1__BenchmarkPhase phase, uint64_t elapsed_ns);
	void *ctx;
};

/* One phase, into ret (initialised here). SEQUENTIAL_WRITE sets size to what was written where that
 * is less. 0 or -errno: -ENODEV where the end came too early. */
int disk_measure(struct disk_measure *measure, Postern__V1__BenchmarkPhase kind,
	Postern__V1__BenchmarkResult *ret);
