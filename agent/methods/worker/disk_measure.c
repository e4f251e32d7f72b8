/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_measure.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"

#define TELL_NS (250 * NSEC_PER_MSEC)
#define STEPS   UINT64_C(8) /* of each doubling of a time, so that it is known within an eighth */
#define TIMES   (64 * STEPS)
#define SEED    UINT64_C(0x9e3779b97f4a7c15)

#define PHASE(name) POSTERN__V1__BENCHMARK_PHASE__##name

/* One phase on its way. */
struct phase {
	struct disk_measure *measure;
	Postern__V1__BenchmarkPhase kind;
	Postern__V1__BenchmarkResult *result;
	uint64_t block; /* bytes of one operation */
	uint64_t random;
	uint64_t begun, told;
	uint32_t times[TIMES]; /* how many operations took so long */
};

static uint64_t next_random(uint64_t *state)
{
	/* xorshift64: anywhere is all that is wanted. */
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static size_t slot_of(uint64_t ns)
{
	unsigned int bits = 63u - (unsigned int)__builtin_clzll(ns | STEPS);

	/* The highest bit, and the three behind it. */
	return (size_t)(bits * STEPS + ((ns >> (bits - 3)) & (STEPS - 1)));
}

static uint64_t end_of_slot(size_t slot)
{
	unsigned int bits = (unsigned int)(slot / STEPS);

	return ((STEPS + slot % STEPS + 1) << (bits - 3)) - 1;
}

static uint64_t quantile(const struct phase *phase, unsigned int percent)
{
	uint64_t wanted = (phase->result->operations * percent + 99) / 100, seen = 0;

	for (size_t slot = 3 * STEPS; slot < TIMES; slot++) {
		seen += phase->times[slot];
		if (seen >= wanted && seen > 0)
			return end_of_slot(slot) < phase->result->latency_max_ns
				       ? end_of_slot(slot)
				       : phase->result->latency_max_ns;
	}
	return 0;
}

static bool is_write(const struct phase *phase)
{
	return phase->kind == PHASE(SEQUENTIAL_WRITE) || phase->kind == PHASE(RANDOM_WRITE);
}

static bool is_random(const struct phase *phase)
{
	return phase->kind == PHASE(RANDOM_READ) || phase->kind == PHASE(RANDOM_WRITE);
}

/* One operation at the given place. 0 or -errno. */
static int operate(struct phase *phase, uint64_t offset)
{
	const struct disk_measure *measure = phase->measure;
	Postern__V1__BenchmarkResult *result = phase->result;
	uint64_t before = monotonic_ns(), took;
	ssize_t n = is_write(phase)
			    ? pwrite(measure->fd, measure->buffer, phase->block, (off_t)offset)
			    : pread(measure->fd, measure->buffer, phase->block, (off_t)offset);

	if (n < 0)
		return -errno;
	if (n == 0)
		return is_write(phase) ? -ENOSPC : -ENODEV;
	took = monotonic_ns() - before;
	phase->times[slot_of(took)]++;
	result->operations++;
	result->bytes += (uint64_t)n;
	if (took > result->latency_max_ns)
		result->latency_max_ns = took;
	return 0;
}

static int tell(struct phase *phase, uint64_t now)
{
	const struct disk_measure *measure = phase->measure;

	if (now - phase->told < TELL_NS)
		return 0;
	phase->told = now;
	return measure->progress(measure->ctx, phase->kind, now - phase->begun);
}

/* Until the time is over, or everything was read or written once. 0 or -errno. */
static int run(struct phase *phase)
{
	const struct disk_measure *measure = phase->measure;
	uint64_t blocks = measure->size / phase->block, now = phase->begun;
	int r = 0;

	for (uint64_t i = 0; r == 0 && now - phase->begun < measure->duration_ns; i++) {
		uint64_t block = i;

		if (is_random(phase))
			block = next_random(&phase->random) % blocks;
		else if (i == blocks)
			break;
		r = operate(phase, block * phase->block);
		now = monotonic_ns();
		if (r == 0)
			r = tell(phase, now);
	}
	if (r == 0 && is_write(phase) && fdatasync(measure->fd) < 0)
		r = -errno;
	return r;
}

static void fill(struct phase *phase)
{
	/* What a disk that compresses, or keeps no zeros, cannot leave out. */
	for (size_t at = 0; at < MEASURE_LARGE; at += sizeof(phase->random)) {
		uint64_t word = next_random(&phase->random);

		memcpy(phase->measure->buffer + at, &word, sizeof(word));
	}
}

static void finish(struct phase *phase)
{
	Postern__V1__BenchmarkResult *result = phase->result;
	double seconds;

	result->elapsed_ns = monotonic_ns() - phase->begun;
	seconds = (double)result->elapsed_ns / (double)NSEC_PER_SEC;
	result->bytes_per_second = seconds > 0 ? (uint64_t)((double)result->bytes / seconds) : 0;
	result->latency_p50_ns = quantile(phase, 50);
	result->latency_p95_ns = quantile(phase, 95);
	result->latency_p99_ns = quantile(phase, 99);
	result->has_operations = result->has_bytes = result->has_elapsed_ns = true;
	result->has_bytes_per_second = result->has_latency_p50_ns = true;
	result->has_latency_p95_ns = result->has_latency_p99_ns = true;
	result->has_latency_max_ns = true;
}

int disk_measure(struct disk_measure *measure, Postern__V1__BenchmarkPhase kind,
	Postern__V1__BenchmarkResult *ret)
{
	struct phase phase = {.measure = measure, .kind = kind, .result = ret, .random = SEED};
	int r;

	postern__v1__benchmark_result__init(ret);
	ret->has_phase = true;
	ret->phase = kind;
	phase.block = is_random(&phase) ? MEASURE_SMALL : MEASURE_LARGE;
	phase.random ^= monotonic_ns();
	if (is_write(&phase))
		fill(&phase);
	/* What was just written is not to come from memory. */
	else if (!measure->direct)
		(void)posix_fadvise(measure->fd, 0, 0, POSIX_FADV_DONTNEED);
	phase.begun = phase.told = monotonic_ns();
	r = run(&phase);
	if (r < 0)
		return r;
	finish(&phase);
	if (kind == PHASE(SEQUENTIAL_WRITE) && ret->bytes >= MEASURE_LARGE &&
		ret->bytes < measure->size)
		measure->size = ret->bytes;
	return 0;
}
