/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A listening socket in an event loop. Where a connection cannot be taken for want of descriptors
 * or memory it stays in the queue, and is asked for again after a rest: it would wake the loop over
 * and over.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "proto/loop.h"

struct listener {
	int fd; /* owned, or -EBADF */
	struct loop_io io;
	struct loop_timer retry;
	bool resting; /* the last connection could not be taken */
	/* A connection came in; fd is the callee's, the peer's address is borrowed. */
	void (*fn)(struct listener *listener, int fd, const struct sockaddr_storage *peer);
};

/* Empty, so that it can be closed. */
void listener_init(struct listener *listener);

/* Accepts on fd (non-blocking; owned from here on, also on failure) and calls fn; the accepted
 * sockets do not block and close on exec. 0 or -errno. */
int listener_start(struct listener *listener, struct loop *loop, int fd,
	void (*fn)(struct listener *listener, int fd, const struct sockaddr_storage *peer));

/* Leaves connections in the socket's queue, or takes them again. Harmless on an empty one. */
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

/* May be called by fn. */
void listener_close(struct listener *listener);
