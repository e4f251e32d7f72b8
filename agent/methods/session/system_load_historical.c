/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/methods/sample.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define POINTS_A_PART 256
#define POINT_BYTES   160 /* at most, as bytes of a frame */
#define STEP_MAX_S    604800

/* Points on their way into one part of the answer. */
struct part {
	struct call *call;
	Postern__V1__SystemLoadHistoricalReply *reply;
	Postern__V1__LoadPoint points[POINTS_A_PART];
	Postern__V1__LoadPoint *pointers[POINTS_A_PART];
	size_t n, most;
};

/* The samples of one step so far. */
struct step {
	Postern__V1__Aggregation aggregation;
	uint64_t start; /* seconds since 1970 */
	uint32_t samples;
	double values[POINT_VALUES];
};

static int part_add(struct part *part, const Postern__V1__LoadPoint *point)
{
	int r = 0;

	if (part->n == part->most) {
		part->reply->n_points = part->n;
		r = call_more(part->call, &part->reply->base);
		part->n = 0;
	}
	part->points[part->n] = *point;
	part->pointers[part->n] = &part->points[part->n];
	part->n++;
	return r;
}

static void step_add(struct step *step, const Postern__V1__LoadPoint *point)
{
	double values[POINT_VALUES];

	point_values((Postern__V1__LoadPoint *)point, values);
	for (int i = 0; i < POINT_VALUES; i++) {
		double *to = &step->values[i];

		if (step->samples == 0 || step->aggregation == POSTERN__V1__AGGREGATION__LAST)
			*to = values[i];
		else if (step->aggregation == POSTERN__V1__AGGREGATION__MINIMUM)
			*to = values[i] < *to ? values[i] : *to;
		else if (step->aggregation == POSTERN__V1__AGGREGATION__MAXIMUM)
			*to = values[i] > *to ? values[i] : *to;
		else
			/* As it goes: a sum of equal values, divided, may differ from them. */
			*to += (values[i] - *to) / (step->samples + 1);
	}
	step->samples++;
}

static int step_end(struct step *step, struct part *part)
{
	Postern__V1__LoadPoint point = POSTERN__V1__LOAD_POINT__INIT;

	if (step->samples == 0)
		return 0;
	point.has_time_s = point.has_samples = true;
	point.time_s = step->start;
	point.samples = step->samples;
	point_set_values(&point, step->values);
	step->samples = 0;
	return part_add(part, &point);
}

static int take_sample(
	struct step *step, uint32_t step_s, const struct load_sample *sample, struct part *part)
{
	Postern__V1__LoadPoint point;
	uint64_t start = sample->time_s - sample->time_s % step_s;
	int r = 0;

	if (start != step->start)
		r = step_end(step, part);
	step->start = start;
	sample_to_point(sample, &point);
	step_add(step, &point);
	return r;
}

static int read_head(int fd, struct history_head *ret_head)
{
	return pread(fd, ret_head, sizeof(*ret_head), 0) == (ssize_t)sizeof(*ret_head) &&
			       ret_head->magic == HISTORY_MAGIC && ret_head->capacity > 0
		       ? 0
		       : -ENODATA;
}

/* Number of the oldest sample that is whole: the place of the one before may be written just now,
 * and only then does the head count it. */
static uint64_t oldest(const struct history_head *head)
{
	return head->written < head->capacity ? 0 : head->written - head->capacity + 1;
}

/*
 * Walks the ring from its oldest sample, in the order in which they were taken: the guest's clock
 * may have been set back, or far ahead, so that times say nothing about it. What the watcher
 * overwrote meanwhile is known by the head, read again once there is a copy.
 */
static int walk(int fd, const struct history_head *head, uint64_t since, struct step *step,
	uint32_t step_s, struct part *part)
{
	uint64_t at = oldest(head);
	struct load_sample samples[64];
	struct history_head now;

	while (at < head->written) {
		uint64_t index = at % head->capacity, n = head->written - at;
		ssize_t got;

		if (n > ARRAY_SIZE(samples))
			n = ARRAY_SIZE(samples);
		if (n > head->capacity - index)
			n = head->capacity - index;
		got = pread(fd, samples, n * sizeof(samples[0]),
			(off_t)(sizeof(*head) + index * sizeof(samples[0])));
		if (got < (ssize_t)sizeof(samples[0]))
			break;
		n = (uint64_t)got / sizeof(samples[0]);
		if (read_head(fd, &now) < 0)
			break;
		for (uint64_t i = 0; i < n; i++) {
			int r;

			if (samples[i].time_s < since || at + i < oldest(&now))
				continue;
			r = take_sample(step, step_s, &samples[i], part);
			if (r < 0)
				return r;
		}
		at += n;
	}
	return step_end(step, part);
}

int system_load_historical(struct call *call,
	const Postern__V1__SystemLoadHistoricalRequest *request,
	Postern__V1__SystemLoadHistoricalReply *reply)
{
	const struct session *session = call->program;
	int fd = session->fds[SESSION_FD_HISTORY], r;
	struct step step = {.aggregation = request->aggregation};
	struct part *part = arena_alloc(call->arena, sizeof(*part));
	uint64_t now = clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC, since = 0;
	struct history_head head;

	if (!part)
		return -ENOMEM;
	if (fd < 0 || read_head(fd, &head) < 0)
		return call_fail(
			call, POSTERN__V1__CODE__UNAVAILABLE, 0, "there is no load history");
	if (request->step_s > STEP_MAX_S)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "step_s: at most %d",
			STEP_MAX_S);
	reply->has_step_s = true;
	reply->step_s = request->step_s ? request->step_s : head.interval_s;
	if (request->range_s != 0)
		since = now > request->range_s ? now - request->range_s : 0;
	if (step.aggregation == POSTERN__V1__AGGREGATION__AGGREGATION_UNSPECIFIED)
		step.aggregation = POSTERN__V1__AGGREGATION__AVERAGE;
	part->call = call;
	part->reply = reply;
	part->most = call->max_frame / 2 / POINT_BYTES;
	part->most = part->most < 1 ? 1 : part->most > POINTS_A_PART ? POINTS_A_PART : part->most;
	reply->points = part->pointers;
	r = walk(fd, &head, since, &step, reply->step_s, part);
	reply->n_points = part->n;
	return r;
}
