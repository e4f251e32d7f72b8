/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Until the stream stands: connect(), and the line of a hybrid socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/client/client_state.h"
#include "proto/client/error.h"

/* The one line of a hybrid socket. In one write: some proxies read it in one piece only. */
static int say_connect(struct postern_client *client)
{
	char line[PROXY_LINE_MAX];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", client->address.port);

	if (send(client->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		return errno ? -errno : -EIO;
	client->phase = CLIENT_PROXY;
	return 0;
}

/* The stream stands: what comes first on it. */
static int connected(struct postern_client *client)
{
	return client->address.hybrid ? say_connect(client) : client_say_hello(client);
}

int client_connect(struct postern_client *client)
{
	client->fd = socket(
		client->address.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0)
		return -errno;
	client->phase = CLIENT_CONNECTING;
	if (connect(client->fd, (struct sockaddr *)&client->address.socket, client->address.len) ==
		0)
		return connected(client);
	return errno == EINPROGRESS ? 0 : -errno;
}

enum postern_failure client_failure_of_connect(int negative_errno)
{
	return negative_errno == -ENOMEM || negative_errno == -EMFILE ||
			       negative_errno == -ENFILE || negative_errno == -EACCES ||
			       negative_errno == -EPERM
		       ? POSTERN_REFUSED
		       : POSTERN_ABSENT;
}

static int finish_connect(struct postern_client *client)
{
	socklen_t len = sizeof(int);
	struct pollfd wait = {.fd = client->fd, .events = POLLOUT};
	int error = 0;

	if (poll(&wait, 1, 0) == 0)
		return 0;
	if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return error ? -error : connected(client);
}

/* Takes the proxy's line byte by byte: what follows it belongs to the agent. */
static int take_line(struct postern_client *client)
{
	char byte;
	ssize_t n;

	while ((n = read(client->fd, &byte, 1)) == 1) {
		if (byte == '\n') {
			client->line[client->line_len] = '\0';
			if (strncmp(client->line, "OK ", 3) != 0)
				return -EPROTO;
			return client_say_hello(client);
		}
		if (client->line_len == PROXY_LINE_MAX)
			return -EPROTO;
		client->line[client->line_len++] = byte;
	}
	if (n == 0)
		return -ECONNREFUSED;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int fail_connect(struct postern_client *client, int r, struct postern_error *error)
{
	if (r == -EPROTO)
		error_set(error, POSTERN_PROTOCOL, 0, "the socket did not answer CONNECT with OK");
	else if (client->phase == CLIENT_PROXY)
		error_set(error, POSTERN_ABSENT, -r,
			"nobody in the guest listens on vsock port %u (is the agent running?)",
			client->address.port);
	else
		error_set(error, client_failure_of_connect(r), -r, "cannot connect: %s",
			strerror(-r));
	return client_end(client, r, error);
}

int client_go_on_connecting(struct postern_client *client, struct postern_error *error)
{
	int r = 0;

	if (client->phase == CLIENT_CONNECTING)
		r = finish_connect(client);
	if (r == 0 && client->phase == CLIENT_PROXY)
		r = take_line(client);
	return r < 0 ? fail_connect(client, r, error) : 0;
}
