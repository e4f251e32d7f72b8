/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs of the guest that have promised signs of life. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/watch/store.h"
#include "heartbeat.pb-c.h"

struct heartbeat {
	char name[HEARTBEAT_NAME_MAX + 1];
	uint32_t uid;
	const void *connection; /* whose end counts as silence; NULL: detached, or gone */
	bool detached;
	Postern__V1__HeartbeatState state;
	uint64_t deadline_ms;
	uint64_t last_ns; /* CLOCK_MONOTONIC */
	uint64_t last_real_ns;
	uint64_t beats, missed;
};

struct heartbeats {
	struct heartbeat *programs; /* owned; HEARTBEATS_MAX, NULL while there is none */
	size_t n;
};

/* The program of this name and user; NULL: there is none. */
struct heartbeat *heartbeats_find(struct heartbeats *heartbeats, const char *name, uint32_t uid);

/* A new one, ALIVE; in the place of one that is missed, where its user has his number. NULL: there
 * are too many, or no memory. */
struct heartbeat *heartbeats_add(struct heartbeats *heartbeats, const char *name, uint32_t uid);

void heartbeats_remove(struct heartbeats *heartbeats, struct heartbeat *heartbeat);

/* The next one that is ALIVE and whose time is over, which is LATE from now on; NULL: none (any
 * more). */
struct heartbeat *heartbeats_late(struct heartbeats *heartbeats, uint64_t now_ns);

/* The next one that was bound to this connection, and is GONE from now on if it was ALIVE. */
struct heartbeat *heartbeats_gone(struct heartbeats *heartbeats, const void *connection);

/* When somebody is late next, CLOCK_MONOTONIC; UINT64_MAX: nobody will be. */
uint64_t heartbeats_next(const struct heartbeats *heartbeats);

/* How many are missed now. */
uint32_t heartbeats_missed(const struct heartbeats *heartbeats);

/* As the protocol has it; the name is borrowed. */
void heartbeat_to_message(const struct heartbeat *heartbeat, uint64_t now_ns,
	Postern__V1__HeartbeatProgram *ret_program);
