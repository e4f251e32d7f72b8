/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/client/stream.h"
#include "proto/clock.h"
#include "proto/limits.h"

#define OPEN_MS 5000

/* Waits until the deadline for one of the events. 0 or -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t until)
{
	struct pollfd wait = {.fd = fd, .events = events};

	if (monotonic_ns() >= until)
		return -ETIMEDOUT;
	(void)poll(&wait, 1, ms_until(until));
	return 0;
}

static int connect_stream(struct stream *stream, uint64_t until)
{
	int r = stream_start(stream);

	while (r == 0) {
		r = stream_go_on(stream);
		if (r == 0)
			r = wait_for(stream->fd, stream_events(stream), until);
	}
	return r < 0 ? r : 0;
}

/* A fresh socket takes these few bytes at once. */
static int present(int fd, const uint8_t *token)
{
	uint8_t preamble[CHANNEL_PREAMBLE_SIZE] = {0, 'P', 'C', 1};
	ssize_t n;

	memcpy(preamble + CHANNEL_PREAMBLE_SIZE - POSTERN_TOKEN_SIZE, token, POSTERN_TOKEN_SIZE);
	n = send(fd, preamble, sizeof(preamble), MSG_NOSIGNAL);
	explicit_bzero(preamble, sizeof(preamble));
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(preamble) ? 0 : -EIO;
}

static int take_welcome(int fd, uint64_t until)
{
	uint8_t byte;

	for (;;) {
		ssize_t n = recv(fd, &byte, 1, 0);
		int r;

		if (n == 1)
			return byte == 1 ? 0 : -EPROTO;
		if (n == 0)
			return -ECONNREFUSED;
		if (errno != EAGAIN && errno != EINTR)
			return errno == ECONNRESET ? -ECONNREFUSED : -errno;
		r = wait_for(fd, POLLIN, until);
		if (r < 0)
			return r;
	}
}

int postern_channel_open(const struct postern_client *client, const uint8_t *token,
	uint32_t timeout_ms, int *ret_fd, struct postern_error *error)
{
	uint64_t until = monotonic_ns() + (timeout_ms ? timeout_ms : OPEN_MS) * NSEC_PER_MSEC;
	struct stream stream = {.address = client->stream.address, .fd = -EBADF};
	int r;

	if (stream.address.len == 0) {
		error_set(error, POSTERN_USAGE, EINVAL,
			"a channel needs an address, and this client has only a descriptor");
		return -EINVAL;
	}
	r = connect_stream(&stream, until);
	if (r == 0)
		r = present(stream.fd, token);
	if (r == 0)
		r = take_welcome(stream.fd, until);
	if (r == 0) {
		*ret_fd = stream.fd;
		return 0;
	}
	if (r == -ETIMEDOUT)
		error_set(error, POSTERN_TIMED_OUT, ETIMEDOUT, "no channel in time");
	else if (r == -ECONNREFUSED)
		error_set(error, POSTERN_ABSENT, ECONNREFUSED,
			"the agent did not take the channel's token");
	else
		stream_fail(&stream, r, error);
	(void)fd_close(stream.fd);
	return r;
}
