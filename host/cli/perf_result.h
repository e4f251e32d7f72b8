/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was measured, and how it is shown. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum perf_check { PERF_NOT_RUN, PERF_PASSED, PERF_FAILED };

/* Percentiles of what was measured so many times: of the list in order, the one whose place comes
 * out of the percentage, rounded down. Nanoseconds, or MiB a second, the slowest first. */
struct perf_figures {
	bool run;
	double min, p25, p50, p75, p99, max;
};

struct perf_result {
	uint64_t bytes; /* in each direction of a measurement */
	enum perf_check check;
	struct perf_figures round_trip; /* ns */
	struct perf_figures tx, rx, single, multi;
};

/* Of n times in ns (at least one), which are put in order. */
void perf_latency(uint64_t *times, size_t n, struct perf_figures *ret);

/* Of n times in ns in which so many bytes were moved. */
void perf_throughput(uint64_t *times, size_t n, uint64_t bytes, struct perf_figures *ret);

/* For a person; what was not measured is "NOT RUN". */
void perf_print(const struct perf_result *result, FILE *out);

/* A new reference. */
json_t *perf_json(const struct perf_result *result);
