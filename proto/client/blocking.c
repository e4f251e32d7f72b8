/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The blocking functions: the same core in a poll() of our own. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/clock.h"

int postern_client_wait(
	struct postern_client *client, int timeout_ms, int fd, struct postern_error *error)
{
	uint64_t deadline = postern_client_deadline(client);
	struct pollfd wait[] = {
		{.fd = client->stream.fd, .events = postern_client_events(client)},
		{.fd = fd, .events = POLLIN},
	};
	int r;

	if (client->phase == CLIENT_ENDED)
		return -ENOTCONN;
	if (deadline != UINT64_MAX) {
		int due = ms_until(deadline);

		if (timeout_ms < 0 || due < timeout_ms)
			timeout_ms = due;
	}
	r = poll(wait, fd < 0 ? 1 : 2, timeout_ms);
	/* Whoever waits for a call has it on his stack: it must be told before this returns. */
	if (r < 0 && errno != EINTR)
		return client_end(client, -errno, error);
	if (r > 0 && fd >= 0 && wait[1].revents)
		return 1;
	return postern_client_dispatch(client, error);
}

int postern_client_open(const char *address, const struct postern_options *options,
	struct postern_client **ret_client, struct postern_error *error)
{
	struct postern_client *client;
	int r = postern_client_start(address, options, &client, error);

	if (r < 0)
		return r;
	while (r == 0 && !postern_client_ready(client))
		r = postern_client_wait(client, -1, -1, error);
	if (r < 0) {
		postern_client_close(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

int client_fail_start(struct postern_error *error, const char *method, int r)
{
	error_set(error, r == -ENOTCONN ? POSTERN_ABSENT : POSTERN_USAGE, -r, "%s: %s", method,
		r == -EMSGSIZE ? "the request is larger than the agent takes" : strerror(-r));
	return r;
}

int client_run_until(struct postern_client *client, const bool *done, struct postern_error *error)
{
	int r = 0;

	while (!*done && r == 0)
		r = postern_client_wait(client, -1, -1, error);
	return r;
}

struct blocking_call {
	postern_reply_fn fn;
	void *ctx;
	struct postern_error *error;
	bool done;
	int r;
};

static void on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct blocking_call *call = ctx;

	if (error) {
		error_copy(call->error, error);
		call->r = error->failure == POSTERN_TIMED_OUT && !error->packed ? -ETIMEDOUT
										: -EREMOTEIO;
	} else if (call->fn) {
		call->fn(call->ctx, NULL, result, len, more);
	}
	call->done = !more;
}

int postern_call(struct postern_client *client, const char *method, const uint8_t *params,
	size_t len, uint32_t timeout_ms, postern_reply_fn fn, void *ctx,
	struct postern_error *error)
{
	struct blocking_call call = {.fn = fn, .ctx = ctx, .error = error};
	uint64_t id;
	int r = postern_call_start(client, method, params, len, timeout_ms, on_reply, &call, &id);

	if (r < 0)
		return client_fail_start(error, method, r);
	r = client_run_until(client, &call.done, error);
	return r < 0 ? r : call.r;
}
