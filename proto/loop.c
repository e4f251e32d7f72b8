/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

int loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll < 0 ? -errno : 0;
}

void loop_done(struct loop *loop)
{
	loop->epoll = fd_close(loop->epoll);
}

int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = io};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	io->loop = loop;
	io->fd = fd;
	io->events = events;
	return 0;
}

int loop_io_set(struct loop_io *io, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = io};

	if (!io->loop)
		return -EBADF;
	if (io->events == events)
		return 0;
	if (epoll_ctl(io->loop->epoll, EPOLL_CTL_MOD, io->fd, &event) < 0)
		return -errno;
	io->events = events;
	return 0;
}

void loop_io_del(struct loop_io *io)
{
	struct loop *loop = io->loop;

	if (!loop)
		return;
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, io->fd, NULL);
	/* The round under way may still hold an event of this source. */
	for (int i = 0; i < loop->batch_len; i++)
		if (loop->batch[i] == io)
			loop->batch[i] = NULL;
	io->loop = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t at)
{
	struct loop_timer **link = &loop->timers;

	loop_timer_del(timer);
	while (*link && (*link)->at <= at)
		link = &(*link)->next;
	timer->loop = loop;
	timer->at = at;
	timer->next = *link;
	*link = timer;
}

void loop_timer_del(struct loop_timer *timer)
{
	if (!timer->loop)
		return;
	for (struct loop_timer **link = &timer->loop->timers; *link; link = &(*link)->next)
		if (*link == timer) {
			*link = timer->next;
			break;
		}
	timer->loop = NULL;
	timer->next = NULL;
}

static void fire_timers(struct loop *loop)
{
	uint64_t now = monotonic_ns();

	while (!loop->stop && loop->timers && loop->timers->at <= now) {
		struct loop_timer *timer = loop->timers;

		loop_timer_del(timer);
		timer->fn(timer);
	}
}

int loop_once(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[LOOP_BATCH];
	int n;

	if (loop->timers) {
		int due = ms_until(loop->timers->at);

		if (timeout_ms < 0 || due < timeout_ms)
			timeout_ms = due;
	}
	n = epoll_wait(loop->epoll, events, LOOP_BATCH, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		loop->batch[i] = events[i].data.ptr;
	loop->batch_len = n;
	for (int i = 0; i < n && !loop->stop; i++)
		if (loop->batch[i])
			loop->batch[i]->fn(loop->batch[i], events[i].events);
	loop->batch_len = 0;
	if (loop->timers)
		fire_timers(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!loop->stop) {
		int r = loop_once(loop, -1);

		if (r < 0)
			return r;
	}
	return loop->exit_code;
}

void loop_stop(struct loop *loop, int code)
{
	loop->stop = true;
	loop->exit_code = code;
}
