/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding out that the guest's agent answers. The agent tells the host's readiness port when it is
 * up. Anyone in the guest could do that, so it is a hint: a hello to the agent's own port follows,
 * and its answer counts. Nobody is asked before; only where no hint comes at all (an agent may be
 * told to give none) hellos are tried in the end, far apart.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/common/link.h"
#include "proto/client/client.h"
#include "proto/frame.h"
#include "proto/listener.h"
#include "proto/loop.h"

#define READY_HINTS_MAX 4 /* connections that are just telling us */

struct hint {
	struct ready *ready;
	int fd;
	struct loop_io io;
	struct loop_timer deadline;
	struct frame_reader reader;
};

struct ready {
	struct loop *loop;
	char *address; /* of the agent, for the client */
	struct listener listener;
	uint32_t
		guest_cid; /* AF_VSOCK: whose hints are taken; 0: the listener is the guest's own */
	struct hint hints[READY_HINTS_MAX];
	struct link link; /* a hello under way */
	struct loop_timer next_try;
	uint32_t pause_ms;  /* to the next hello that no hint asks for */
	uint32_t hello_ms;  /* that the next one has */
	bool trying;        /* nobody has answered yet */
	bool hinted;        /* since ready_start() */
	uint64_t hinted_at; /* the last hello for a hint; 0: none yet */
	char last_problem[256];
	void (*fn)(void *ctx, const struct postern_peer *peer);
	void *ctx;
};

/*
 * Listens for hints: on a UNIX socket at path (the hybrid socket's path with "_7670"), or where
 * path is NULL on any free AF_VSOCK port of the host, which comes back in *ret_port. address
 * (copied) is the agent's. fn is called for each answered hello (a guest that was reset sends a new
 * hint), with what it told (borrowed). 0 or -errno.
 */
int ready_open(struct ready *ready, struct loop *loop, const char *address, const char *path,
	uint32_t guest_cid, uint32_t *ret_port,
	void (*fn)(void *ctx, const struct postern_peer *peer), void *ctx);

/* The guest boots, and has patience_ms for it: waits for a hint. Without any the first hello comes
 * after 20 s or half of the patience, whichever is less, then after twice that and so on, in the
 * end each 30 s, until one is answered. */
void ready_start(struct ready *ready, uint32_t patience_ms);

/* The same for a guest that has booted already: the first hello is said at once. */
void ready_ask(struct ready *ready, uint32_t patience_ms);

/* No more hellos but after a hint. */
void ready_wait_for_hint(struct ready *ready);

void ready_close(struct ready *ready);
