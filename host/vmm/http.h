/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of a VMM's HTTP interface: JSON requests and answers over a UNIX socket, with libcurl's
 * multi interface in our loop.
 *
 * It never blocks. A guest may have taken the VMM over, so what comes in is bounded: 16 KiB of
 * headers, 1 MiB of body, JSON 32 deep; redirects and other protocols are not followed, and error
 * texts are escaped.
 *
 * Requests are done one after the other, each on a connection of its own: VMMs work on one at a
 * time, and a request that was sent once must never be sent again. One that is not answered in time
 * fails alone, and may be done yet: its connection stays open without an owner until the answer is
 * there, and those behind it wait.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"
#include "proto/loop.h"

#define HTTP_HEADERS_MAX (16u << 10)
#define HTTP_BODY_MAX    (1u << 20)
#define HTTP_OPEN_MAX    64 /* requests without an answer, the late one among them */

struct http;

/* The end of a request: error is NULL and body the JSON object that came (borrowed; NULL: none), or
 * the other way round. Requests may be made in here; http_close() may not be called. */
typedef void (*http_answer_fn)(void *ctx, const struct postern_error *error, const json_t *body);

/* For a request whose answer says nothing but that it is done. */
typedef void (*http_done_fn)(void *ctx, const struct postern_error *error);

/* The VMM has just let a request's time pass (told before that request is), or answers again. */
typedef void (*http_silence_fn)(void *ctx, bool silent);

struct http_peer {
	const char *title; /* of the VMM, in sentences; static */
	const char *base;  /* what all paths begin with: "/api/v1"; static */
	http_silence_fn on_silence;
	void *ctx;
};

/*
 * A request. Exactly one of answer and done is set, and is called once: from the loop, or at once
 * where the request cannot even wait. A failure is POSTERN_ANSWERED for what the VMM refuses (its
 * sentence is in the error, and an errno that fits its status), POSTERN_TIMED_OUT,
 * POSTERN_ABSENT for a connection that ended early, POSTERN_PROTOCOL for what is no HTTP, is too
 * large, or is no answer of the interface.
 */
struct http_request {
	const char *method; /* "PUT"; static, as path */
	const char *path;
	json_t *body; /* taken over; NULL: none */
	uint32_t timeout_ms;
	http_answer_fn answer; /* a GET: an object must come */
	http_done_fn done;
	void *ctx;
};

/* Nothing is connected to yet. socket_path is copied. 0, -ENAMETOOLONG for what sun_path cannot
 * hold, or -ENOMEM. */
int http_open(struct loop *loop, const char *socket_path, const struct http_peer *peer,
	struct http **ret_http);

/* Closes; open requests end without their function being called. NULL is allowed. */
void http_close(struct http *http);

/* Makes a request. Until the VMM has answered for the first time, a socket where nobody listens yet
 * is tried again, for the request's time. */
void http_call(struct http *http, const struct http_request *asked);
