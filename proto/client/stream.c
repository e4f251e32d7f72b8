/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/client/error.h"
#include "proto/limits.h"

/* The one line of a hybrid socket. In one write: some proxies read it in one piece only. */
static int say_connect(struct stream *stream)
{
	char line[STREAM_LINE_MAX];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", stream->address.port);

	if (send(stream->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		return errno ? -errno : -EIO;
	stream->phase = STREAM_PROXY;
	return 0;
}

/* The socket is connected: 1 where that is all, else what comes next, 0 or -errno. */
static int connected(struct stream *stream)
{
	if (stream->address.hybrid)
		return say_connect(stream);
	stream->phase = STREAM_UP;
	return 1;
}

int stream_start(struct stream *stream)
{
	int r;

	stream->fd = socket(
		stream->address.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (stream->fd < 0)
		return -errno;
	stream->phase = STREAM_CONNECTING;
	if (connect(stream->fd, (struct sockaddr *)&stream->address.socket, stream->address.len) <
		0)
		return errno == EINPROGRESS ? 0 : -errno;
	r = connected(stream);
	return r < 0 ? r : 0;
}

static int finish_connect(struct stream *stream)
{
	socklen_t len = sizeof(int);
	struct pollfd wait = {.fd = stream->fd, .events = POLLOUT};
	int error = 0;

	if (poll(&wait, 1, 0) == 0)
		return 0;
	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return error ? -error : connected(stream);
}

/* Takes the proxy's line byte by byte: what follows it belongs to whoever listens in the guest. */
static int take_line(struct stream *stream)
{
	char byte;
	ssize_t n;

	while ((n = read(stream->fd, &byte, 1)) == 1) {
		if (byte == '\n') {
			stream->line[stream->line_len] = '\0';
			if (strncmp(stream->line, "OK ", 3) != 0)
				return -EPROTO;
			stream->phase = STREAM_UP;
			return 1;
		}
		if (stream->line_len == STREAM_LINE_MAX)
			return -EPROTO;
		stream->line[stream->line_len++] = byte;
	}
	if (n == 0)
		return -ECONNREFUSED;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int stream_go_on(struct stream *stream)
{
	int r = 0;

	if (stream->phase == STREAM_CONNECTING)
		r = finish_connect(stream);
	if (r == 0 && stream->phase == STREAM_PROXY)
		r = take_line(stream);
	return stream->phase == STREAM_UP ? 1 : r;
}

short stream_events(const struct stream *stream)
{
	return stream->phase == STREAM_CONNECTING ? POLLOUT : POLLIN;
}

enum postern_failure stream_failure(int negative_errno)
{
	return negative_errno == -ENOMEM || negative_errno == -EMFILE ||
			       negative_errno == -ENFILE || negative_errno == -EACCES ||
			       negative_errno == -EPERM
		       ? POSTERN_REFUSED
		       : POSTERN_ABSENT;
}

void stream_fail(const struct stream *stream, int negative_errno, struct postern_error *error)
{
	if (negative_errno == -EPROTO)
		error_set(error, POSTERN_PROTOCOL, 0, "the socket did not answer CONNECT with OK");
	else if (stream->phase == STREAM_PROXY)
		error_set(error, POSTERN_ABSENT, -negative_errno,
			"nobody in the guest listens on vsock port %u%s", stream->address.port,
			stream->address.port == POSTERN_PORT ? " (is the agent running?)" : "");
	else
		error_set(error, stream_failure(negative_errno), -negative_errno,
			"cannot connect: %s", strerror(-negative_errno));
}
