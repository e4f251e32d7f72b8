/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel and a socket joined in an event loop: the bytes and the end of each go to the other, at
 * the pace of whoever reads, until both have ended. A channel that fails resets the socket. The
 * other way round a channel cannot say that it did not end well, so somebody else has to.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/buffer.h"
#include "proto/loop.h"

struct relay_way {
	struct buffer held; /* read, and not taken yet by the other */
	bool ended;         /* nothing more is read */
	bool told;          /* ... and the other side knows */
	uint64_t bytes;     /* passed on */
};

struct relay {
	int fd[2]; /* owned: the channel, and the socket */
	struct loop_io io[2];
	struct relay_way way[2]; /* [i]: from fd[i] to the other */
	bool hung[2];            /* all that may still come of fd[i] is its end */
	/* Whoever serves the channel may die, and all that it serves ends with it: so long, from
	 * such an end on, is waited to hear of that, and for this to be reset. 0: not at all. */
	uint32_t doubt_ms;
	bool more[2];           /* fd[i] may have more to be read */
	int failed;             /* the side that an error is of */
	struct loop_timer wait; /* for the other end of the channel to hear of it */
	/* The socket has failed, and is closed; the channel stays open until its other end closes
	 * it, which is to be told. */
	void (*broke)(struct relay *relay);
	/* It is over, and everything is closed; the callee may free the relay. */
	void (*done)(struct relay *relay);
};

/* For a process that does nothing but this: memory for what waits is kept for the next piece, since
 * the kernel would clear each one anew. */
void relay_keep_memory(void);

/* Joins two connected, non-blocking sockets, owned from here on, also on failure. broke and done
 * are set already. 0 or -errno. */
int relay_start(struct relay *relay, struct loop *loop, int channel, int socket);

/* Ends it without done being called. Safe on what was never started (all zero), and twice. */
void relay_stop(struct relay *relay);

/* The same, and where it was joined both sides are told that this was not all. */
void relay_reset(struct relay *relay);
