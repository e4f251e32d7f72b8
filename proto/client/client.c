/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/clock.h"
#include "proto/limits.h"

#define CONNECT_MS    5000
#define CALL_GRACE_MS 2000

static struct postern_client *client_new(const struct postern_options *options)
{
	struct postern_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	if (options)
		client->options = *options;
	if (client->options.max_frame == 0)
		client->options.max_frame = FRAME_HOST_MAX;
	if (client->options.max_frame > FRAME_CEILING)
		client->options.max_frame = FRAME_CEILING;
	if (client->options.connect_ms == 0)
		client->options.connect_ms = CONNECT_MS;
	if (client->options.call_grace_ms == 0)
		client->options.call_grace_ms = CALL_GRACE_MS;
	client->stream.fd = -EBADF;
	client->deadline = monotonic_ns() + client->options.connect_ms * NSEC_PER_MSEC;
	client->reader.limit = FRAME_HELLO_MAX;
	client->next_id = 1;
	arena_init(&client->arena, ARENA_HOST_MAX);
	list_init(&client->calls);
	list_init(&client->subscriptions);
	list_init(&client->rides);
	return client;
}

int postern_client_start(const char *address, const struct postern_options *options,
	struct postern_client **ret_client, struct postern_error *error)
{
	struct postern_client *client = client_new(options);
	const char *why;
	int r;

	if (!client)
		return -ENOMEM;
	r = address_parse(address, &client->stream.address, &why);
	if (r < 0) {
		error_set(error, POSTERN_USAGE, 0, "%.200s: %s", address, why);
	} else {
		r = stream_start(&client->stream);
		if (r == 0 && client->stream.phase == STREAM_UP)
			r = client_say_hello(client);
		if (r < 0)
			error_set(
				error, stream_failure(r), -r, "%.200s: %s", address, strerror(-r));
	}
	if (r < 0) {
		postern_client_close(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

int postern_client_start_fd(int fd, const struct postern_options *options,
	struct postern_client **ret_client, struct postern_error *error)
{
	struct postern_client *client = client_new(options);
	int r = client ? 0 : -ENOMEM;

	if (!client) {
		(void)fd_close(fd);
		return r;
	}
	client->stream.fd = fd;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		r = client_say_hello(client);
	if (r < 0) {
		error_set(error, POSTERN_ABSENT, -r, "%s", strerror(-r));
		postern_client_close(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void postern_client_close(struct postern_client *client)
{
	if (!client)
		return;
	LIST_EACH(&client->calls, node)
	free(container_of(node, struct client_call, node));
	client_drop_subscriptions(client);
	client_drop_rides(client);
	client->stream.fd = fd_close(client->stream.fd);
	frame_reader_done(&client->reader);
	buffer_clear(&client->out);
	arena_done(&client->arena);
	free(client->peer_version);
	free(client->peer_identity);
	free(client);
}

int postern_client_fd(const struct postern_client *client)
{
	return client->stream.fd;
}

short postern_client_events(const struct postern_client *client)
{
	if (client->phase == CLIENT_CONNECTING)
		return stream_events(&client->stream);
	return (short)(POLLIN | (buffer_len(&client->out) > 0 ? POLLOUT : 0));
}

/* When the frame that has begun must be complete. */
static uint64_t frame_deadline(const struct postern_client *client)
{
	return client->reader.started_ns + FRAME_DEADLINE_MS * NSEC_PER_MSEC;
}

uint64_t postern_client_deadline(const struct postern_client *client)
{
	uint64_t earliest = client->phase < CLIENT_READY ? client->deadline : UINT64_MAX;

	if (client->reader.started_ns != 0 && frame_deadline(client) < earliest)
		earliest = frame_deadline(client);
	LIST_EACH(&client->calls, node)
	{
		const struct client_call *call = container_of(node, struct client_call, node);

		if (call->deadline < earliest)
			earliest = call->deadline;
	}
	return earliest;
}

bool postern_client_ready(const struct postern_client *client)
{
	return client->phase == CLIENT_READY;
}

const struct postern_peer *postern_client_peer(const struct postern_client *client)
{
	return client->phase == CLIENT_READY ? &client->peer : NULL;
}

static int take_frames(struct postern_client *client, struct postern_error *error)
{
	const uint8_t *body;
	size_t len;
	int r;

	while ((r = frame_next(&client->reader, &body, &len)) > 0) {
		r = client_take_frame(client, body, len, error);
		if (r < 0)
			return r;
	}
	if (r < 0) {
		error_set(error, POSTERN_PROTOCOL, 0,
			r == -EMSGSIZE ? "the agent sent a frame over the limit"
				       : "the agent sent something that is no frame");
		return client_end(client, r, error);
	}
	return 0;
}

static int receive(struct postern_client *client, struct postern_error *error)
{
	ssize_t n = frame_read(&client->reader, client->stream.fd);
	int r;

	if (n == -EAGAIN)
		return 0;
	if (n > 0)
		return take_frames(client, error);
	/* A goodbye may have come with the end. */
	r = n == 0 ? -ECONNRESET : (int)n;
	error_set(error, POSTERN_ABSENT, -r,
		client->phase == CLIENT_READY ? "the connection was lost"
					      : "the connection was closed before the hello");
	return client_end(client, r, error);
}

static int check_times(struct postern_client *client, struct postern_error *error)
{
	uint64_t now = monotonic_ns();

	if (client->phase < CLIENT_READY && now >= client->deadline) {
		error_set(error, POSTERN_TIMED_OUT, ETIMEDOUT,
			"no hello from the agent within %u ms", client->options.connect_ms);
		return client_end(client, -ETIMEDOUT, error);
	}
	if (client->reader.started_ns != 0 && now >= frame_deadline(client)) {
		error_set(error, POSTERN_PROTOCOL, 0, "the rest of a frame did not come in time");
		return client_end(client, -ETIMEDOUT, error);
	}
	LIST_EACH(&client->calls, node)
	{
		struct client_call *call = container_of(node, struct client_call, node);
		struct postern_error late = {0};

		if (now < call->deadline)
			continue;
		list_remove(&call->node);
		error_set(&late, POSTERN_TIMED_OUT, ETIMEDOUT, "the agent did not answer in time");
		call->fn(call->ctx, &late, NULL, 0, false);
		postern_error_clear(&late);
		free(call);
	}
	return 0;
}

static int go_on_connecting(struct postern_client *client, struct postern_error *error)
{
	int r = stream_go_on(&client->stream);

	if (r > 0)
		r = client_say_hello(client);
	if (r >= 0)
		return 0;
	stream_fail(&client->stream, r, error);
	return client_end(client, r, error);
}

int postern_client_dispatch(struct postern_client *client, struct postern_error *error)
{
	int r;

	if (client->phase == CLIENT_ENDED)
		return -ENOTCONN;
	r = client->phase == CLIENT_CONNECTING ? go_on_connecting(client, error) : 0;
	if (r < 0)
		return r;
	if (client->phase >= CLIENT_HELLO) {
		r = buffer_send(&client->out, client->stream.fd, NULL);
		/* What the agent said before it closed is still to be read. */
		if (r == 0 || r == -EPIPE || r == -ENOTCONN || r == -ECONNRESET)
			r = receive(client, error);
		if (r < 0)
			return client_end(client, r, error);
	}
	return check_times(client, error);
}
