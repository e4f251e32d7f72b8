/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/perf_result.h"

#include <stdlib.h>

#include "proto/clock.h"
#include "proto/perf/perf.h"

#define MIB (UINT64_C(1) << 20)

static int by_size(const void *a, const void *b)
{
	const uint64_t *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

static int by_size_down(const void *a, const void *b)
{
	return by_size(b, a);
}

/* No interpolation between two places. */
static double percentile(const uint64_t *times, size_t n, unsigned int percent)
{
	size_t place = (n - 1) * percent / 100;

	return (double)times[place];
}

static void fill(const uint64_t *times, size_t n, struct perf_figures *ret)
{
	*ret = (struct perf_figures){.run = true,
		.min = percentile(times, n, 0),
		.p25 = percentile(times, n, 25),
		.p50 = percentile(times, n, 50),
		.p75 = percentile(times, n, 75),
		.p99 = percentile(times, n, 99),
		.max = percentile(times, n, 100)};
}

void perf_latency(uint64_t *times, size_t n, struct perf_figures *ret)
{
	qsort(times, n, sizeof(*times), by_size);
	fill(times, n, ret);
}

void perf_throughput(uint64_t *times, size_t n, uint64_t bytes, struct perf_figures *ret)
{
	double *const figures[] = {
		&ret->min, &ret->p25, &ret->p50, &ret->p75, &ret->p99, &ret->max};

	qsort(times, n, sizeof(*times), by_size_down);
	fill(times, n, ret);
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		*figures[i] = (double)bytes / (double)MIB /
			      ((*figures[i] > 0 ? *figures[i] : 1) / (double)NSEC_PER_SEC);
}

/* ---- for a person ---- */

static void print_row(const char *name, double value, bool is_time, FILE *out)
{
	if (is_time)
		(void)fprintf(out, "\t%-17s %.0fns (%.3fms)\n", name, value,
			value / (double)NSEC_PER_MSEC);
	else
		(void)fprintf(out, "\t%-17s %.2fMiB/s\n", name, value);
}

static void print_figures(const struct perf_figures *figures, bool is_time, FILE *out)
{
	if (!figures->run) {
		(void)fputs(" NOT RUN\n", out);
		return;
	}
	(void)fputc('\n', out);
	print_row("Min:", figures->min, is_time, out);
	print_row("25th percentile:", figures->p25, is_time, out);
	print_row("50th percentile:", figures->p50, is_time, out);
	print_row("75th percentile:", figures->p75, is_time, out);
	print_row("99th percentile:", figures->p99, is_time, out);
	print_row("Max:", figures->max, is_time, out);
}

void perf_print(const struct perf_result *result, FILE *out)
{
	static const char *const checks[] = {
		[PERF_NOT_RUN] = "NOT RUN", [PERF_PASSED] = "PASSED", [PERF_FAILED] = "FAILED"};
	unsigned int mib = (unsigned int)(result->bytes / MIB);

	(void)fprintf(out, "\n\nMicrobenchmark Results\n------------------------\n");
	(void)fprintf(out, "* Data corruption check: %s\n", checks[result->check]);
	(void)fprintf(out, "* Round trip latency of %d bytes:", PERF_BLOCK);
	print_figures(&result->round_trip, true, out);
	(void)fprintf(out, "* TX (guest -> host, unreliable) throughput of %u MiB:", mib);
	print_figures(&result->tx, false, out);
	(void)fprintf(out, "* RX (host -> guest, unreliable) throughput of %u MiB:", mib);
	print_figures(&result->rx, false, out);
	(void)fprintf(out, "* Single stream unidirectional round trip throughput of %u MiB:", mib);
	print_figures(&result->single, false, out);
	(void)fprintf(out,
		"* Multistream (%d connections) unidirectional round trip throughput of %u MiB:",
		PERF_MULTI_STREAMS, mib);
	print_figures(&result->multi, false, out);
}

/* ---- for a program ---- */

static json_t *figures_json(const struct perf_figures *figures, const char *unit)
{
	if (!figures->run)
		return json_null();
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:s}", "min", figures->min, "p_25th",
		figures->p25, "p_50th", figures->p50, "p_75th", figures->p75, "p_99th",
		figures->p99, "max", figures->max, "unit", unit);
}

json_t *perf_json(const struct perf_result *result)
{
	static const char rate[] = "MebibytesPerSecond";
	json_t *check = result->check == PERF_NOT_RUN ? json_null()
						      : json_boolean(result->check == PERF_PASSED);

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "data_corruption", check,
		"round_trip_page", figures_json(&result->round_trip, "Nanoseconds"),
		"tx_throughput", figures_json(&result->tx, rate), "rx_throughput",
		figures_json(&result->rx, rate), "single_stream_unidirectional",
		figures_json(&result->single, rate), "multi_stream_unidirectional",
		figures_json(&result->multi, rate));
}
