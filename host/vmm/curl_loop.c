/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/curl_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

struct watched {
	struct curl_loop *curl;
	struct loop_io io;
};

/* Tells of what has ended. */
static void look(struct curl_loop *curl)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(curl->multi, &left))) {
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_loop_stop(curl, easy);
		curl->done(curl, easy, code);
	}
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	struct curl_loop *curl = container_of(io, struct watched, io)->curl;
	int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
	int running;

	(void)curl_multi_socket_action(curl->multi, io->fd, what, &running);
	look(curl);
}

static int watch_new(struct curl_loop *curl, curl_socket_t fd, uint32_t events)
{
	struct watched *watched = calloc(1, sizeof(*watched));

	if (!watched)
		return -1;
	watched->curl = curl;
	watched->io.fn = on_socket;
	if (loop_io_add(curl->loop, &watched->io, fd, events) == 0 &&
		curl_multi_assign(curl->multi, fd, watched) == CURLM_OK)
		return 0;
	loop_io_del(&watched->io);
	free(watched);
	return -1;
}

/* CURLMOPT_SOCKETFUNCTION */
static int watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct watched *watched = socket_ctx;
	uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
			  (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);

	(void)easy;
	if (what != CURL_POLL_REMOVE)
		return watched ? loop_io_set(&watched->io, events) : watch_new(ctx, fd, events);
	if (watched)
		loop_io_del(&watched->io);
	free(watched);
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	struct curl_loop *curl = container_of(timer, struct curl_loop, timer);
	int running;

	(void)curl_multi_socket_action(curl->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look(curl);
}

/* CURLMOPT_TIMERFUNCTION */
static int set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct curl_loop *curl = ctx;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_del(&curl->timer);
	else
		loop_timer_set(curl->loop, &curl->timer,
			monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC);
	return 0;
}

int curl_loop_open(struct curl_loop *curl, struct loop *loop)
{
	curl->loop = loop;
	curl->timer.fn = on_timer;
	curl->multi = curl_multi_init();
	if (curl->multi &&
		curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, watch) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl) == CURLM_OK)
		return 0;
	curl_loop_close(curl);
	return -ENOMEM;
}

void curl_loop_close(struct curl_loop *curl)
{
	if (curl->multi)
		(void)curl_multi_cleanup(curl->multi);
	curl->multi = NULL;
	loop_timer_del(&curl->timer);
}

int curl_loop_start(struct curl_loop *curl, CURL *easy)
{
	return curl_multi_add_handle(curl->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

void curl_loop_stop(struct curl_loop *curl, CURL *easy)
{
	(void)curl_multi_remove_handle(curl->multi, easy);
}
