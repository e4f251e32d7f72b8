/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
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

struct postern_channel {
	struct stream stream;
	bool presented;
	uint8_t preamble[CHANNEL_PREAMBLE_SIZE];
};

static int fail_channel(const struct postern_channel *channel, int r, struct postern_error *error)
{
	if (r == -ECONNREFUSED)
		error_set(error, POSTERN_ABSENT, ECONNREFUSED,
			"the agent did not take the channel's token");
	else
		stream_fail(&channel->stream, r, error);
	return r;
}

int postern_channel_start(const struct postern_client *client, const uint8_t *token,
	struct postern_channel **ret_channel, struct postern_error *error)
{
	static const uint8_t magic[CHANNEL_PREAMBLE_SIZE - POSTERN_TOKEN_SIZE] = {0, 'P', 'C', 1};
	struct postern_channel *channel;
	int r;

	if (client->stream.address.len == 0) {
		error_set(error, POSTERN_USAGE, EINVAL,
			"a channel needs an address, and this client has only a descriptor");
		return -EINVAL;
	}
	channel = calloc(1, sizeof(*channel));
	if (!channel) {
		error_set(error, POSTERN_ANSWERED, ENOMEM, "no memory for a channel");
		return -ENOMEM;
	}
	channel->stream = (struct stream){.address = client->stream.address, .fd = -EBADF};
	memcpy(channel->preamble, magic, sizeof(magic));
	memcpy(channel->preamble + sizeof(magic), token, POSTERN_TOKEN_SIZE);
	r = stream_start(&channel->stream);
	if (r < 0) {
		(void)fail_channel(channel, r, error);
		postern_channel_free(channel);
		return r;
	}
	*ret_channel = channel;
	return 0;
}

int postern_channel_fd(const struct postern_channel *channel)
{
	return channel->stream.fd;
}

short postern_channel_events(const struct postern_channel *channel)
{
	if (channel->presented)
		return POLLIN;
	return channel->stream.phase == STREAM_UP ? POLLOUT : stream_events(&channel->stream);
}

/* A fresh socket takes these few bytes at once. */
static int present(struct postern_channel *channel)
{
	ssize_t n = send(
		channel->stream.fd, channel->preamble, sizeof(channel->preamble), MSG_NOSIGNAL);

	explicit_bzero(channel->preamble, sizeof(channel->preamble));
	channel->presented = true;
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(channel->preamble) ? 0 : -EIO;
}

/* 1, 0 or -errno. */
static int take_welcome(const struct postern_channel *channel)
{
	uint8_t byte;
	ssize_t n = recv(channel->stream.fd, &byte, 1, MSG_DONTWAIT);

	if (n == 1)
		return byte == 1 ? 1 : -EPROTO;
	if (n == 0 || errno == ECONNRESET)
		return -ECONNREFUSED;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int postern_channel_go_on(struct postern_channel *channel, int *ret_fd, struct postern_error *error)
{
	int r = channel->presented ? 1 : stream_go_on(&channel->stream);

	if (r > 0 && !channel->presented)
		r = present(channel) ?: 1;
	if (r > 0)
		r = take_welcome(channel);
	if (r > 0)
		*ret_fd = take_fd(&channel->stream.fd);
	return r < 0 ? fail_channel(channel, r, error) : r;
}

void postern_channel_free(struct postern_channel *channel)
{
	if (!channel)
		return;
	(void)fd_close(channel->stream.fd);
	explicit_bzero(channel->preamble, sizeof(channel->preamble));
	free(channel);
}

int postern_channel_open(const struct postern_client *client, const uint8_t *token,
	uint32_t timeout_ms, int *ret_fd, struct postern_error *error)
{
	uint64_t until = monotonic_ns() + (timeout_ms ? timeout_ms : OPEN_MS) * NSEC_PER_MSEC;
	struct postern_channel *channel;
	int r = postern_channel_start(client, token, &channel, error);

	if (r < 0)
		return r;
	while ((r = postern_channel_go_on(channel, ret_fd, error)) == 0) {
		struct pollfd wait = {.fd = postern_channel_fd(channel),
			.events = postern_channel_events(channel)};

		if (monotonic_ns() >= until) {
			r = -ETIMEDOUT;
			error_set(error, POSTERN_TIMED_OUT, ETIMEDOUT, "no channel in time");
			break;
		}
		(void)poll(&wait, 1, ms_until(until));
	}
	postern_channel_free(channel);
	return r < 0 ? r : 0;
}
