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

#define HINT_MS      5000
#define PAUSE_MS     250 /* between hellos, growing to */
#define PAUSE_MAX_MS 1000
#define TRY_MS       1500 /* of one hello without a hint: the guest may not listen yet; doubled for a */
#define TRY_MAX_MS   24000 /* guest that is slower than that, up to this */
#define HELLO_MS     5000  /* of one after a hint */

static void hello(struct ready *ready, uint32_t within_ms);

/* ---- Hellos ---- */

static void end_try(struct ready *ready)
{
	loop_io_del(&ready->client_io);
	loop_timer_del(&ready->client_deadline);
	loop_timer_del(&ready->next_try);
	postern_client_close(ready->client);
	ready->client = NULL;
}

static void on_next_try(struct loop_timer *timer)
{
	struct ready *ready = container_of(timer, struct ready, next_try);

	hello(ready, ready->try_ms);
	if (ready->try_ms < TRY_MAX_MS)
		ready->try_ms *= 2;
}

static void try_later(struct ready *ready)
{
	end_try(ready);
	if (!ready->trying)
		return;
	ready->next_try.fn = on_next_try;
	loop_timer_set(
		ready->loop, &ready->next_try, monotonic_ns() + ready->pause_ms * NSEC_PER_MSEC);
	ready->pause_ms = ready->pause_ms * 3 / 2;
	if (ready->pause_ms > PAUSE_MAX_MS)
		ready->pause_ms = PAUSE_MAX_MS;
}

/* Follows the client's descriptor, which may change until it is ready. */
static int watch(struct ready *ready)
{
	int fd = postern_client_fd(ready->client);
	uint32_t events = (uint32_t)postern_client_events(ready->client);
	uint64_t deadline = postern_client_deadline(ready->client);

	if (deadline == UINT64_MAX)
		loop_timer_del(&ready->client_deadline);
	else
		loop_timer_set(ready->loop, &ready->client_deadline, deadline);
	if (ready->client_io.loop && ready->client_io.fd == fd)
		return loop_io_set(&ready->client_io, events);
	loop_io_del(&ready->client_io);
	return loop_io_add(ready->loop, &ready->client_io, fd, events);
}

static void dispatch(struct ready *ready)
{
	struct postern_error error = {0};
	int r;

	/* The descriptor may be closed in there. */
	loop_io_del(&ready->client_io);
	r = postern_client_dispatch(ready->client, &error);
	if (r < 0) {
		(void)snprintf(
			ready->last_problem, sizeof(ready->last_problem), "%.255s", error.message);
		postern_error_clear(&error);
		try_later(ready);
	} else if (postern_client_ready(ready->client)) {
		ready->trying = false;
		ready->fn(ready->ctx, postern_client_peer(ready->client));
		end_try(ready);
	} else if (watch(ready) < 0) {
		try_later(ready);
	}
}

static void on_client(struct loop_io *io, uint32_t events)
{
	(void)events;
	dispatch(container_of(io, struct ready, client_io));
}

static void on_client_deadline(struct loop_timer *timer)
{
	dispatch(container_of(timer, struct ready, client_deadline));
}

static void hello(struct ready *ready, uint32_t within_ms)
{
	struct postern_options options = {.name = "postern-supervisor", .connect_ms = within_ms};
	struct postern_error error = {0};

	end_try(ready);
	ready->client_io.fn = on_client;
	ready->client_deadline.fn = on_client_deadline;
	if (postern_client_start(ready->address, &options, &ready->client, &error) < 0) {
		ready->client = NULL;
		(void)snprintf(
			ready->last_problem, sizeof(ready->last_problem), "%.255s", error.message);
		postern_error_clear(&error);
		try_later(ready);
	} else if (watch(ready) < 0) {
		try_later(ready);
	}
}

void ready_start(struct ready *ready)
{
	ready->trying = true;
	ready->pause_ms = PAUSE_MS;
	ready->try_ms = TRY_MS;
	try_later(ready);
}

void ready_wait_for_hint(struct ready *ready)
{
	ready->trying = false;
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
	uint64_t now = monotonic_ns();

	if (now - ready->hinted_at < NSEC_PER_SEC && ready->hinted_at != 0)
		return;
	ready->hinted_at = now;
	hello(ready, ready->try_ms > HELLO_MS ? ready->try_ms : HELLO_MS);
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

static void on_listener(struct loop_io *io, uint32_t events)
{
	struct ready *ready = container_of(io, struct ready, io);
	struct sockaddr_vm peer = {0};
	socklen_t len = sizeof(peer);
	int fd = accept4(
		ready->listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (ready->guest_cid != 0 && peer.svm_cid != ready->guest_cid)
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
	int r;

	*ready = (struct ready){.loop = loop,
		.fn = fn,
		.ctx = ctx,
		.io.fn = on_listener,
		.guest_cid = path ? 0 : guest_cid};
	for (size_t i = 0; i < READY_HINTS_MAX; i++)
		ready->hints[i].fd = -EBADF;
	ready->listener = path ? unix_listen(path, 4) : listen_vsock(ret_port);
	if (ready->listener < 0)
		return ready->listener;
	ready->address = strdup(address);
	r = ready->address ? loop_io_add(loop, &ready->io, ready->listener, EPOLLIN) : -ENOMEM;
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
	loop_io_del(&ready->io);
	ready->listener = fd_close(ready->listener);
	free(ready->address);
	ready->address = NULL;
}
