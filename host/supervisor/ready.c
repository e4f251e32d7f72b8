/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/ready.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "envelope.pb-c.h"
#include "host/common/unix_socket.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/limits.h"
#include "proto/log.h"
#include "proto/verify.h"

#define HINT_MS      5000 /* for the hint's bytes */
#define HELLO_MS     5000 /* of a hello; doubled for a guest that is slower than that, up to */
#define HELLO_MAX_MS 24000
#define AGAIN_MS     1000 /* from a hinted hello that was not answered to the next, doubled up to */
#define PAUSE_MAX_MS 30000
#define UNHINTED_MS  20000 /* to the first hello without any hint */

/* ---- Hellos ---- */

static void end_try(struct ready *ready)
{
	link_close(&ready->link);
	loop_timer_del(&ready->next_try);
}

static uint32_t doubled(uint32_t ms, uint32_t most)
{
	return ms > most / 2 ? most : ms * 2;
}

static void try_later(struct ready *ready)
{
	end_try(ready);
	if (!ready->trying)
		return;
	loop_timer_set(
		ready->loop, &ready->next_try, monotonic_ns() + ready->pause_ms * NSEC_PER_MSEC);
	ready->pause_ms = doubled(ready->pause_ms, PAUSE_MAX_MS);
}

static void not_answered(struct ready *ready, const struct postern_error *error)
{
	(void)snprintf(ready->last_problem, sizeof(ready->last_problem), "%.255s", error->message);
	if (error->failure == POSTERN_TIMED_OUT)
		ready->hello_ms = doubled(ready->hello_ms, HELLO_MAX_MS);
	try_later(ready);
}

static void on_link(struct link *link, const struct postern_error *error)
{
	struct ready *ready = container_of(link, struct ready, link);

	if (error) {
		not_answered(ready, error);
	} else if (postern_client_ready(link->client)) {
		ready->trying = false;
		ready->fn(ready->ctx, postern_client_peer(link->client));
		end_try(ready);
	}
}

static void hello(struct ready *ready)
{
	const struct postern_options options = {
		.name = "postern-supervisor", .connect_ms = ready->hello_ms};
	struct postern_error error = {0};

	end_try(ready);
	if (link_open(&ready->link, ready->loop, ready->address, &options, on_link, &error) < 0)
		not_answered(ready, &error);
	postern_error_clear(&error);
}

static void on_next_try(struct loop_timer *timer)
{
	struct ready *ready = container_of(timer, struct ready, next_try);

	if (ready->hinted)
		ready->hinted_at = monotonic_ns();
	else
		log_info("the agent has not said that it is ready: asking for it");
	hello(ready);
}

void ready_start(struct ready *ready, uint32_t patience_ms)
{
	ready->trying = true;
	ready->hinted = false;
	ready->hinted_at = 0;
	ready->hello_ms = HELLO_MS;
	ready->pause_ms = patience_ms / 2 < UNHINTED_MS ? patience_ms / 2 : UNHINTED_MS;
	try_later(ready);
}

void ready_ask(struct ready *ready, uint32_t patience_ms)
{
	ready_start(ready, patience_ms);
	ready->pause_ms = AGAIN_MS;
	hello(ready);
}

void ready_wait_for_hint(struct ready *ready)
{
	ready->trying = false;
	end_try(ready);
}

/* ---- Hints ---- */

static void hint_close(struct hint *hint)
{
	loop_io_del(&hint->io);
	loop_timer_del(&hint->deadline);
	frame_reader_done(&hint->reader);
	hint->fd = fd_close(hint->fd);
}

/* A well-formed Ready frame? Its content is not used: the hello tells it again, from the agent. */
static bool is_ready(const uint8_t *body, size_t len)
{
	const char *why;

	return verify_message(
		       &postern__v1__ready__descriptor, body, len, &verify_host_limits, &why) == 0;
}

/* A guest may send hints for ever: one hello a second is enough. */
static void follow_hint(struct ready *ready)
{
	uint64_t now = monotonic_ns(), next = ready->hinted_at + AGAIN_MS * NSEC_PER_MSEC;

	ready->hinted = true;
	ready->pause_ms = AGAIN_MS;
	if (ready->hinted_at != 0 && now < next) {
		loop_timer_set(ready->loop, &ready->next_try, next);
		return;
	}
	ready->hinted_at = now;
	hello(ready);
}

static void on_hint_bytes(struct loop_io *io, uint32_t events)
{
	struct hint *hint = container_of(io, struct hint, io);
	struct ready *ready = hint->ready;
	const uint8_t *body;
	size_t len;
	ssize_t n = frame_read(&hint->reader, hint->fd);
	int r = frame_next(&hint->reader, &body, &len);
	bool good = r == 1 && is_ready(body, len);

	(void)events;
	if (r == 0 && (n > 0 || n == -EAGAIN))
		return;
	if (!good)
		log_warning("a readiness message that is none was dropped");
	hint_close(hint);
	if (good)
		follow_hint(ready);
}

static void on_hint_late(struct loop_timer *timer)
{
	hint_close(container_of(timer, struct hint, deadline));
}

static void take_hint(struct ready *ready, int fd)
{
	struct hint *hint = NULL;

	for (size_t i = 0; i < READY_HINTS_MAX && !hint; i++)
		if (ready->hints[i].fd < 0)
			hint = &ready->hints[i];
	if (!hint) {
		(void)fd_close(fd);
		return;
	}
	*hint = (struct hint){.ready = ready,
		.fd = fd,
		.io.fn = on_hint_bytes,
		.deadline.fn = on_hint_late,
		.reader.limit = FRAME_HELLO_MAX};
	if (loop_io_add(ready->loop, &hint->io, fd, EPOLLIN) < 0) {
		hint_close(hint);
		return;
	}
	loop_timer_set(ready->loop, &hint->deadline, monotonic_ns() + HINT_MS * NSEC_PER_MSEC);
}

static void on_guest(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct ready *ready = container_of(listener, struct ready, listener);

	if (ready->guest_cid != 0 &&
		((const struct sockaddr_vm *)peer)->svm_cid != ready->guest_cid)
		(void)fd_close(fd);
	else
		take_hint(ready, fd);
}

static int listen_vsock(uint32_t *ret_port)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY};
	socklen_t len = sizeof(address);
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return -errno;
	*ret_port = address.svm_port;
	return take_fd(&fd);
}

int ready_open(struct ready *ready, struct loop *loop, const char *address, const char *path,
	uint32_t guest_cid, uint32_t *ret_port,
	void (*fn)(void *ctx, const struct postern_peer *peer), void *ctx)
{
	int fd, r;

	*ready = (struct ready){.loop = loop,
		.fn = fn,
		.ctx = ctx,
		.next_try.fn = on_next_try,
		.hello_ms = HELLO_MS,
		.guest_cid = path ? 0 : guest_cid};
	for (size_t i = 0; i < READY_HINTS_MAX; i++)
		ready->hints[i].fd = -EBADF;
	listener_init(&ready->listener);
	ready->address = strdup(address);
	fd = path ? unix_listen(path, 4) : listen_vsock(ret_port);
	r = fd < 0 ? fd : listener_start(&ready->listener, loop, fd, on_guest);
	if (r == 0 && !ready->address)
		r = -ENOMEM;
	if (r < 0)
		ready_close(ready);
	return r;
}

void ready_close(struct ready *ready)
{
	if (!ready->loop)
		return;
	end_try(ready);
	for (size_t i = 0; i < READY_HINTS_MAX; i++)
		hint_close(&ready->hints[i]);
	listener_close(&ready->listener);
	free(ready->address);
	ready->address = NULL;
}
