/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel that an answer of the agent has granted: raw bytes on a connection of its own. */
#pragma once

#include "proto/client/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#define POSTERN_TOKEN_SIZE 16

/*
 * Opens the channel of a token (POSTERN_TOKEN_SIZE bytes), at the address that the client was
 * started with. Must be done within 10 s of the answer; a token serves once. Blocks for at most
 * timeout_ms (0: 5 s). 0 with *ret_fd, a non-blocking stream socket that the caller owns and may
 * half-close; -EINVAL: the client was started with a descriptor; -ECONNREFUSED: the agent does not
 * take the token; or another -errno; each with *error.
 */
int postern_channel_open(const struct postern_client *client, const uint8_t *token,
	uint32_t timeout_ms, int *ret_fd, struct postern_error *error);

#ifdef __cplusplus
}
#endif
