/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stream of JSON objects with anything blank between them, as Cloud Hypervisor's event monitor
 * writes it (docs/event-monitor.md there). A guest may have taken the VMM over: an object has at
 * most 64 KiB and is at most 32 deep; what is no object ends the stream.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "proto/buffer.h"
#include "proto/loop.h"

#define EVENT_MAX (64u << 10)

struct event_stream {
	struct loop_io io;
	int fd; /* owned */
	struct buffer in;
	size_t scanned, depth; /* of the object that is coming in */
	bool in_string, escaped;
	void (*on_event)(void *ctx, const json_t *event); /* borrowed */
	void (*on_broken)(void *ctx); /* what came is no such stream; the end of it is no mistake */
	void *ctx;
};

/* Reads fd (owned, also on failure). The functions and ctx are set already. 0 or -errno. */
int event_stream_open(struct event_stream *stream, struct loop *loop, int fd);

/* Harmless on one that was never opened (all zero), and in its own functions. */
void event_stream_close(struct event_stream *stream);
