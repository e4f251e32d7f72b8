/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/perf/guest.h"

#define CONNECT_MS      5000
#define ROUND_TRIPS_MAX 1000000
#define TIMES_MAX       10000
#define MEBIBYTES_MAX   1024

struct measuring {
	int streams[PERF_STREAMS]; /* owned */
	struct perf_size size;
};

static void close_streams(struct measuring *measuring)
{
	for (size_t i = 0; i < PERF_STREAMS; i++)
		measuring->streams[i] = fd_close(measuring->streams[i]);
}

static int take_size(
	struct call *call, const Postern__V1__PerfVsockRequest *request, struct perf_size *ret)
{
	*ret = (struct perf_size)PERF_SIZE_DEFAULT;
	if (request->has_round_trips)
		ret->round_trips = request->round_trips;
	if (request->has_bidirectional)
		ret->bidirectional = request->bidirectional;
	if (request->has_single)
		ret->single = request->single;
	if (request->has_multi)
		ret->multi = request->multi;
	if (request->has_mebibytes)
		ret->bytes = (uint64_t)request->mebibytes << 20;
	if (ret->round_trips > ROUND_TRIPS_MAX || ret->bidirectional > TIMES_MAX ||
		ret->single > TIMES_MAX || ret->multi > TIMES_MAX ||
		request->mebibytes > MEBIBYTES_MAX || ret->bytes == 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"at most %d round trips, %d measurements, 1 to %d MiB", ROUND_TRIPS_MAX,
			TIMES_MAX, MEBIBYTES_MAX);
	return 0;
}

/* 0 once it is connected, or -errno. */
static int wait_connected(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	int error = 0, n = poll(&wait, 1, CONNECT_MS);
	socklen_t len = sizeof(error);

	if (n <= 0)
		return n < 0 ? -errno : -ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? -errno : -error;
}

/* A connection to the host from this port of ours. The caller owns it; -errno. */
static int dial(unsigned int port)
{
	struct sockaddr_vm own = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	struct sockaddr_vm host = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = PERF_PORT};
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		return -errno;
	r = connect(fd, (struct sockaddr *)&host, sizeof(host)) == 0 ? 0 : -errno;
	if (r == -EINPROGRESS)
		r = wait_connected(fd);
	return r < 0 ? r : take_fd(&fd);
}

static int open_stream(struct measuring *measuring, enum perf_stream stream, bool in_band)
{
	struct perf_wait wait = {
		.until_ns = monotonic_ns() + CONNECT_MS * NSEC_PER_MSEC, .life = -1};
	unsigned int port = PERF_FIRST + (unsigned int)stream;
	uint32_t id = htonl(port);
	int fd = dial(port);

	if (fd < 0)
		return fd;
	measuring->streams[stream] = fd;
	return in_band ? perf_send(fd, &id, sizeof(id), &wait) : 0;
}

/* Whoever opened the channel has nothing to say on it, but that it is over. */
static void serve(struct worker_channel *channel, int socket)
{
	struct measuring *measuring = channel->state;

	struct pollfd over = {.fd = socket, .events = POLLIN};

	/* The last bytes may be on their way. */
	if (perf_serve(measuring->streams, &measuring->size, socket) == 0)
		(void)poll(&over, 1, -1);
	close_streams(measuring);
}

int perf_vsock(struct call *call, const Postern__V1__PerfVsockRequest *request,
	Postern__V1__PerfVsockReply *reply)
{
	struct measuring *measuring = arena_alloc(call->arena, sizeof(*measuring));
	int r;

	if (!measuring)
		return -ENOMEM;
	for (size_t i = 0; i < PERF_STREAMS; i++)
		measuring->streams[i] = -EBADF;
	r = take_size(call, request, &measuring->size);
	if (r < 0)
		return r;
	for (enum perf_stream stream = 0; r == 0 && stream < PERF_STREAMS; stream++)
		r = open_stream(measuring, stream, request->in_band);
	if (r < 0) {
		close_streams(measuring);
		if (r == -EADDRINUSE)
			return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EADDRINUSE,
				"the ports that are measured from are in use: one at a time");
		return call_fail_errno(call, r, "port %d of the host", PERF_PORT);
	}
	reply->channel = worker_grant(call, serve, measuring);
	return reply->channel ? 0 : -ENOMEM;
}
