/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One direction of a stream: what was read and not written yet. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/cli/escape.h"

#define FLOW_SIZE (64 << 10)

struct flow {
	int from, to;                 /* borrowed */
	size_t at, end;               /* in bytes */
	size_t most;                  /* that a write takes at once without waiting */
	bool ended;                   /* nothing more comes */
	uint64_t count;               /* bytes written */
	uint8_t bytes[FLOW_SIZE + 1]; /* one for a tilde that was held back */
};

/* Ready to go from one to the other. */
void flow_init(struct flow *flow, int from, int to);

static inline bool flow_is_empty(const struct flow *flow)
{
	return flow->at == flow->end;
}

/* What poll() should look for: it can be read, and it can be written. */
struct pollfd flow_source(const struct flow *flow);
struct pollfd flow_target(const struct flow *flow);

/* Reads, where poll() has found it readable; *ended at the end. 0 or -errno. */
int flow_take(struct flow *flow, const struct pollfd *source);

/* Writes, where poll() has found it writable or a write does not wait. 0 or -errno. */
int flow_give(struct flow *flow, const struct pollfd *target);

/* Room for bytes that come by other ways than a descriptor, and such bytes: no more than that. */
static inline size_t flow_room(const struct flow *flow)
{
	return flow_is_empty(flow) ? FLOW_SIZE : FLOW_SIZE - flow->end;
}

void flow_add(struct flow *flow, const void *bytes, size_t len);

/* What was just read was typed: takes out what is meant for us, and helps. True: the user leaves.
 */
bool flow_typed(struct flow *flow, struct escape *escape);
