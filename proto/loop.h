/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The event loop of every Postern program: epoll for descriptors, a sorted list for timers.
 *
 * The structures are intrusive: their owner embeds them and finds itself with container_of(). A
 * source must be removed before its descriptor is closed and before its memory goes; both removals
 * are safe at any time, also from inside another callback of the same round, and on a source that
 * was never added (all zero).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;

struct loop_io {
	struct loop *loop; /* NULL while not added */
	int fd;            /* borrowed */
	uint32_t events;   /* EPOLLIN and so on, as asked for */
	void (*fn)(struct loop_io *io, uint32_t events);
};

struct loop_timer {
	struct loop *loop; /* NULL while not armed */
	uint64_t at;       /* CLOCK_MONOTONIC, nanoseconds */
	void (*fn)(struct loop_timer *timer);
	struct loop_timer *next;
};

#define LOOP_BATCH 32

struct loop {
	int epoll;
	bool stop;
	int exit_code;
	struct loop_timer *timers; /* earliest first */
	struct loop_io *batch[LOOP_BATCH];
	int batch_len;
};

/* Prepares an empty loop. 0, or -errno of epoll_create1(). */
int loop_init(struct loop *loop);

/* Closes the loop's own descriptor. Sources still added are forgotten, not closed. */
void loop_done(struct loop *loop);

/* Watches fd (borrowed) for events; io->fn must be set. 0, or -errno of epoll_ctl(). */
int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events);

/* Changes what is watched; cheap when nothing changes. 0 or -errno. */
int loop_io_set(struct loop_io *io, uint32_t events);

/* Stops watching; call it before closing the descriptor. */
void loop_io_del(struct loop_io *io);

/* Arms the timer, or moves it, to the monotonic time `at` in nanoseconds; timer->fn must be set.
 * It fires once. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at);

/* Disarms the timer. */
void loop_timer_del(struct loop_timer *timer);

/* Waits for at most timeout_ms (-1: for ever) and dispatches what happened. 0 or -errno. */
int loop_once(struct loop *loop, int timeout_ms);

/* Runs until loop_stop(). Returns its code, or -errno. */
int loop_run(struct loop *loop);

/* Ends loop_run() after the running callback, which then returns code. */
void loop_stop(struct loop *loop, int code);
