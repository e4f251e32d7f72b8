/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/perf_streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>

#include "host/common/fail.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

int perf_streams_listen(struct perf_streams *streams, const char *vm, struct postern_error *error)
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof(own);
	int r;

	*streams = (struct perf_streams){0};
	for (size_t i = 0; i < PERF_STREAMS; i++)
		streams->fds[i] = -EBADF;
	r = postern_listener_open(vm, PERF_PORT, &streams->listener, error);
	if (r < 0)
		return r;
	if (getsockname(postern_listener_fd(streams->listener), (struct sockaddr *)&own, &len) < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "port %d", PERF_PORT);
	streams->in_band = own.ss_family != AF_VSOCK;
	return 0;
}

void perf_streams_close(struct perf_streams *streams)
{
	for (size_t i = 0; i < PERF_STREAMS; i++)
		streams->fds[i] = fd_close(streams->fds[i]);
	postern_listener_close(streams->listener);
	streams->listener = NULL;
}

/* The guest's port of a connection, as the kernel or the connection itself says. 0 or -errno. */
static int port_of(int fd, bool in_band, const struct perf_wait *wait, uint32_t *ret_port)
{
	struct sockaddr_vm peer = {0};
	socklen_t len = sizeof(peer);
	uint32_t id;
	int r;

	if (in_band) {
		r = perf_take(fd, &id, PERF_ID, wait);
		*ret_port = ntohl(id);
		return r;
	}
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return -errno;
	*ret_port = peer.svm_port;
	return 0;
}

static int fail_accept(int r, unsigned int factor, struct postern_error *error)
{
	if (r == -ETIMEDOUT)
		return fail(error, POSTERN_TIMED_OUT, ETIMEDOUT,
			"timed out waiting %us for the guest's connections", PERF_OPEN_S * factor);
	if (r == -ECONNRESET)
		return fail(error, POSTERN_PROTOCOL, ECONNRESET,
			"the guest ended a connection before it said which it is");
	return fail_errno(error, POSTERN_ANSWERED, -r, "port %d", PERF_PORT);
}

/* Puts a connection where it belongs. */
static int place(struct perf_streams *streams, int *fd, uint32_t port, struct postern_error *error)
{
	uint32_t stream = port - PERF_FIRST;

	if (stream >= PERF_STREAMS || streams->fds[stream] >= 0)
		return fail(error, POSTERN_PROTOCOL, EPROTO,
			"unexpected connection from guest port: %u", port);
	streams->fds[stream] = take_fd(fd);
	return 0;
}

int perf_streams_accept(
	struct perf_streams *streams, unsigned int factor, struct postern_error *error)
{
	struct perf_wait wait = {
		.until_ns = monotonic_ns() + (uint64_t)PERF_OPEN_S * factor * NSEC_PER_SEC,
		.life = -1};
	size_t n = 0;

	while (n < PERF_STREAMS) {
		struct pollfd fds = {
			.fd = postern_listener_fd(streams->listener), .events = POLLIN};
		AUTO_CLOSE int fd = postern_listener_accept(streams->listener);
		uint32_t port = 0;
		int r = fd < 0 ? fd : port_of(fd, streams->in_band, &wait, &port);

		if (r == -EAGAIN && monotonic_ns() < wait.until_ns) {
			(void)poll(&fds, 1, ms_until(wait.until_ns));
			continue;
		}
		if (r < 0)
			return fail_accept(r == -EAGAIN ? -ETIMEDOUT : r, factor, error);
		r = place(streams, &fd, port, error);
		if (r < 0)
			return r;
		n++;
	}
	/* Nobody else is waited for. */
	postern_listener_close(streams->listener);
	streams->listener = NULL;
	return 0;
}
