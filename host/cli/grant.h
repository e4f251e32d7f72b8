/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Channels that the answers of an agent grant. */
#pragma once

#include <jansson.h>

#include "proto/client/channel.h"

/* The token of the channel in this field of an answer. 1; 0: there is none; -errno with *error. */
int grant_token(const json_t *answer, const char *field, uint8_t ret_token[POSTERN_TOKEN_SIZE],
	struct postern_error *error);

/* Opens the channel in this field of an answer. 0, and *ret_fd as it was where there is none; the
 * caller owns what is opened. -errno with *error. */
int grant_open(const struct postern_client *client, const json_t *answer, const char *field,
	int *ret_fd, struct postern_error *error);

/* A call (params is taken over), and the channel in this field of its answer, which must be there.
 */
int grant_call(struct postern_client *client, const char *method, json_t *params, const char *field,
	int *ret_fd, struct postern_error *error);
