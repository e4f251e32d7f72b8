/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request outside the session: its parameters come in a sealed memfd, its answer goes through a
 * pipe to the session; or both by a lane (agent/lane.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/buffer.h"

/* The parameters, copied out of the memfd (-EBADF: empty) into the arena: what the session still
 * could change there is nothing. 0, -EMSGSIZE, -ENOMEM, -EIO or -errno. */
int remote_body(struct arena *arena, int fd, uint8_t **ret_body, size_t *ret_len);

/* Writes the frame in out as a part of the answer, and empties out. Blocks while the pipe is full.
 * 0 or -errno; -EPIPE: nobody wants it any more. */
int remote_reply(int pipe, struct buffer *out, bool last);

/* Says by a lane that there is no answer but this (enum ended_why). The same. */
int remote_refuse(int lane, uint32_t why);
