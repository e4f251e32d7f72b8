/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel that an answer of the agent has granted: raw bytes on a connection of its own. */
#pragma once

#include "proto/client/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define POSTERN_TOKEN_SIZE 16

/* A channel that is being opened. */
struct postern_channel;

/*
 * Begins to open the channel of a token (POSTERN_TOKEN_SIZE bytes, as it stands in the answer), at
 * the address that the client was started with. Must be done within 10 s of the answer; a token
 * serves once. Does not block; the client is not needed any longer after it. 0 with *ret_channel,
 * which the caller frees with postern_channel_free(); -EINVAL: the client was started with a
 * descriptor; -ENOMEM, or -errno of socket() or connect(); each with *error.
 */
int postern_channel_start(const struct postern_client *client, const uint8_t *token,
	struct postern_channel **ret_channel, struct postern_error *error);

/* For an event loop: the descriptor, borrowed. It stays the same. */
int postern_channel_fd(const struct postern_channel *channel);

/* The poll() events that the channel waits for: ask again after each postern_channel_go_on(). */
short postern_channel_events(const struct postern_channel *channel);

/* Does what can be done without blocking. 1 with *ret_fd once the channel is open: a non-blocking
 * stream socket that the caller owns and may half-close; 0 when it is to be called again;
 * -ECONNREFUSED: the agent does not take the token; or another -errno; each with *error. */
int postern_channel_go_on(
	struct postern_channel *channel, int *ret_fd, struct postern_error *error);

/* Frees it, at any time; what is not open yet is given up. NULL is allowed. */
void postern_channel_free(struct postern_channel *channel);

/* All of this at once. Blocks for at most timeout_ms (0: 5 s). 0 with *ret_fd, or -errno as above,
 * or -ETIMEDOUT, with *error. */
int postern_channel_open(const struct postern_client *client, const uint8_t *token,
	uint32_t timeout_ms, int *ret_fd, struct postern_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
