/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stream to a port of a guest until it stands: connect(), and the line of a hybrid socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/client/address.h"
#include "proto/client/client.h"

#define STREAM_LINE_MAX 32

enum stream_phase {
	STREAM_CONNECTING, /* connect() is under way */
	STREAM_PROXY,      /* CONNECT was sent, OK is awaited */
	STREAM_UP,
};

struct stream {
	struct address address;
	int fd; /* owned by whoever has the structure; non-blocking; -EBADF: none */
	enum stream_phase phase;
	char line[STREAM_LINE_MAX + 1];
	size_t line_len;
};

/* Begins to connect to stream->address, which the caller has set. 0, or -errno of socket() or
 * connect(). Does not block. */
int stream_start(struct stream *stream);

/* Does what can be done without blocking. 1 once it stands, with nothing read of what comes behind
 * the line; 0 when it is to be called again; -EPROTO for a proxy that does not say OK, or -errno.
 */
int stream_go_on(struct stream *stream);

/* The poll() events that stream_go_on() waits for. */
short stream_events(const struct stream *stream);

/* What a -errno of these stands for. */
enum postern_failure stream_failure(int negative_errno);

/* Why it does not stand, of what stream_go_on() returned. */
void stream_fail(const struct stream *stream, int negative_errno, struct postern_error *error);
