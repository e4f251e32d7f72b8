/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Load samples: into the history at the configured interval, and as notify.system_load whenever
 * somebody wants them. Rates are the difference of two samples.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/sample.h"
#include "agent/watch/counters.h"
#include "agent/watch/watch.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

static struct counters last; /* all zero before the first sample */
static struct load_sample last_sample;
static uint32_t rates_written;

static uint16_t hundredths(double value)
{
	return value <= 0 ? 0 : value >= 655.35 ? UINT16_MAX : (uint16_t)(value * 100 + 0.5);
}

/* Fills in the rates between two sets of counters. */
static void compare(const struct counters *then, const struct counters *now, struct rates *rates)
{
	double s = (double)(now->taken_ns - then->taken_ns) / NSEC_PER_SEC;

	memset(rates, 0, sizeof(*rates));
	rates->magic = RATES_MAGIC;
	rates->begin = rates->end = ++rates_written;
	if (then->taken_ns == 0 || s <= 0)
		return;
	rates->interval_ns = now->taken_ns - then->taken_ns;
	for (uint32_t i = 0; i < now->disks; i++)
		if (counters_disk_rate(then, &now->disk[i], s, &rates->disk[rates->disks]))
			rates->disks++;
	for (uint32_t i = 0; i < now->links; i++)
		if (counters_link_rate(then, &now->link[i], s, &rates->link[rates->links]))
			rates->links++;
}

static void make_sample(const struct counters *then, const struct counters *now,
	const struct rates *rates, struct load_sample *ret)
{
	uint64_t busy = now->cpu_busy - then->cpu_busy, total = now->cpu_total - then->cpu_total;

	*ret = (struct load_sample){
		.time_s = (uint32_t)(clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC),
		.cpu = then->taken_ns && total > 0
			       ? hundredths(100.0 * (double)busy / (double)total)
			       : 0,
		.memory_total = now->memory_total,
		.memory_available = now->memory_available,
		.swap_used = now->swap_used,
	};
	for (int i = 0; i < 3; i++) {
		ret->load[i] = hundredths(now->load[i]);
		ret->pressure[i] = hundredths(now->pressure[i]);
	}
	for (uint32_t i = 0; i < rates->disks; i++) {
		if (!counters_is_whole_disk(rates->disk[i].name))
			continue;
		ret->disk_read += (float)rates->disk[i].read_bytes;
		ret->disk_write += (float)rates->disk[i].write_bytes;
	}
	for (uint32_t i = 0; i < rates->links; i++) {
		if (strcmp(rates->link[i].name, "lo") == 0)
			continue;
		ret->link_rx += (float)rates->link[i].rx_bytes;
		ret->link_tx += (float)rates->link[i].tx_bytes;
	}
}

static void add_to_history(const struct watch *watch, const struct load_sample *sample)
{
	int fd = watch->fds[WATCH_FD_HISTORY];
	struct history_head head;
	off_t at;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
		head.capacity == 0)
		return;
	at = (off_t)(sizeof(head) + head.written % head.capacity * sizeof(*sample));
	/* A full tmpfs costs the sample, nothing else: the head only counts what was written. */
	if (pwrite(fd, sample, sizeof(*sample), at) != (ssize_t)sizeof(*sample))
		return;
	head.written++;
	if (pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		log_warning("the load history cannot be written");
}

static void notify(struct watch *watch, const struct load_sample *sample)
{
	Postern__V1__NotifySystemLoad load = POSTERN__V1__NOTIFY_SYSTEM_LOAD__INIT;
	Postern__V1__LoadPoint point;

	sample_to_point(sample, &point);
	load.sample = &point;
	ring_add_message(watch, TOPIC_system_load, &load.base, sample);
}

void sampler_snapshot(struct snapshot *snapshot)
{
	Postern__V1__NotifySystemLoad load = POSTERN__V1__NOTIFY_SYSTEM_LOAD__INIT;
	Postern__V1__LoadPoint point;

	if (last.taken_ns == 0)
		return;
	sample_to_point(&last_sample, &point);
	load.sample = &point;
	snapshot_add(snapshot, TOPIC_system_load, &load.base);
}

/* Asks the broker, now and then, to have the history written to disk. */
static void save(struct watch *watch, uint64_t now)
{
	struct inner_message message = {.kind = INNER_SAVE_DUE};

	if (watch->facts.save_interval_s == 0 || now < watch->save_due_ns)
		return;
	watch->save_due_ns = now + watch->facts.save_interval_s * NSEC_PER_SEC;
	(void)inner_send(INNER_FD, &message, NULL, NULL, 0);
}

static void on_sampler(struct loop_timer *timer)
{
	struct watch *watch = container_of(timer, struct watch, sampler);
	uint64_t now = monotonic_ns(), interval = watch->facts.sample_interval_s * NSEC_PER_SEC;
	static struct counters counters; /* large: kept off the stack */
	static struct rates rates;
	struct load_sample sample;

	counters_read(watch->fds, &counters);
	compare(&last, &counters, &rates);
	make_sample(&last, &counters, &rates, &sample);
	last = counters;
	if (watch->fds[WATCH_FD_RATES] >= 0 &&
		pwrite(watch->fds[WATCH_FD_RATES], &rates, sizeof(rates), 0) < 0)
		log_debug("the rates cannot be written");
	if (now >= watch->history_due_ns) {
		add_to_history(watch, &sample);
		watch->history_due_ns += interval;
		if (watch->history_due_ns <= now) /* slept, or was stopped */
			watch->history_due_ns = now + interval;
		save(watch, now);
	}
	last_sample = sample;
	if (subscribers_load_interval(watch) > 0)
		notify(watch, &sample);
	sampler_schedule(watch);
}

void sampler_schedule(struct watch *watch)
{
	uint64_t wanted = subscribers_load_interval(watch), at = watch->history_due_ns;
	uint64_t last_ns = last.taken_ns ? last.taken_ns : monotonic_ns();

	if (wanted > 0 && last_ns + wanted < at)
		at = last_ns + wanted;
	loop_timer_set(&watch->loop, &watch->sampler, at);
}

int sampler_start(struct watch *watch)
{
	uint64_t now = monotonic_ns();

	watch->sampler.fn = on_sampler;
	watch->history_due_ns = now;
	watch->save_due_ns = now + watch->facts.save_interval_s * NSEC_PER_SEC;
	loop_timer_set(&watch->loop, &watch->sampler, now);
	return 0;
}
