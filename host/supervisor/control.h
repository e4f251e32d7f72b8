/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The supervisor's control socket: JSON objects, one a line.
 *
 *   request   {"command": "status", "arguments": {...}}
 *   answers   {"progress": {...}} any number of times, then one of
 *             {"return": {...}}
 *             {"error": {"failure": "timed-out", "errno": 110, "message": "...", ...}}
 *   events    {"event": {"name": "state", "time_ns": N, ...}} to who asked for them with "events"
 *   a stream  behind the answer to "console", in place of all that
 *
 * One request at a time on a connection; the next is read when it is answered. Only the
 * supervisor's own user and root are let in.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "host/common/json_line.h"
#include "proto/client/client.h"
#include "proto/listener.h"
#include "proto/loop.h"

#define CONTROL_LINE_MAX    (64u << 10)
#define CONTROL_OUT_MAX     (1u << 20) /* not read by the peer: it is dropped then */
#define CONTROL_CONNECTIONS 32

struct connection;
struct control;

/* One request. It lives until it is answered, whether its peer is still there or not. */
struct request {
	struct connection *connection; /* NULL: the peer has gone */
	struct request *next;          /* for the lists of who waits for something */
	void (*gone)(struct request *request, void *ctx); /* its peer has left; may be NULL */
};

/* arguments is an object, borrowed, never NULL. The function answers now or later, once. */
typedef void (*control_fn)(void *ctx, struct request *request, const json_t *arguments);

struct control_command {
	const char *name;
	control_fn fn;
};

struct control {
	struct loop *loop;
	struct listener listener;
	struct connection *connections;
	size_t n_connections;
	const struct control_command *commands; /* ends with an empty row */
	void *ctx;
};

/* Serves the listening socket (owned, also on failure). 0 or -errno. */
int control_open(struct control *control, struct loop *loop, int listener,
	const struct control_command *commands, void *ctx);

/* Sends what is still to be sent, for at most timeout_ms, and closes all. */
void control_close(struct control *control, int timeout_ms);

/* Answers; what is passed is taken over, NULL stands for an empty object. */
void request_progress(struct request *request, json_t *progress);
void request_return(struct request *request, json_t *result);

/* extra (NULL: none) adds fields to the error object; it is taken over. */
void request_fail(struct request *request, const struct postern_error *error, json_t *extra);

/*
 * Answers with result (taken over, NULL: empty), and takes the request's connection out of the
 * control socket: behind the answer its bytes are the caller's. Only from within the command's own
 * function. 0 with *ret_fd, a non-blocking stream that the caller owns; the request is gone then.
 * -EBUSY where the peer has said more than the request already or gets events, or another -errno:
 * it is still to be answered.
 */
int request_hand_over(struct request *request, json_t *result, int *ret_fd);

/* From now on the request's connection gets events. */
void request_subscribe(struct request *request);

/* Sends an event, with the time, to all subscribers; taken over. */
void control_event(struct control *control, json_t *event);
