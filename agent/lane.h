/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A lane: a stream socket pair between one session and one process that answers what its caller
 * asks, one request after another. The session makes it, and the broker finds a process for its far
 * end, with the verdicts that the requests are held to; from there on an answer takes no other
 * process than these two. Each request is a struct lane_request with its parameters behind it, and
 * is sent only when the one before it is answered; an answer is parts as of a reply pipe (struct
 * reply_head, inner.h). Either side ends it by closing its end between two requests.
 */
#pragma once

#include <stdint.h>

#define LANE_PARAMS_MAX 40960 /* bytes of a request's parameters */
#define LANE_IDLE_MS    20000 /* without a request for so long, the process leaves */

struct lane_request {
	uint32_t method;     /* enum method */
	uint32_t params_len; /* bytes that follow */
	uint64_t id;         /* that the answer bears */
	uint64_t deadline;   /* CLOCK_MONOTONIC, ns; kept by the broker */
	uint64_t max_frame;  /* bytes */
};
