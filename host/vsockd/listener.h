/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A listening UNIX socket: its file, and the connections that come in. */
#pragma once

#include "proto/loop.h"

struct listener {
	int fd; /* owned, or -EBADF */
	struct loop_io io;
	struct loop_timer retry;
	/* A connection came in; fd is the callee's. */
	void (*fn)(struct listener *listener, int fd);
};

/* Creates a listening socket, mode 0600, at path. Its directory must belong to this user or to root
 * and be closed to writes of others (unless sticky), else -EPERM. A stale socket there is replaced;
 * one that somebody answers on is -EADDRINUSE, a file of another type -EEXIST. 0 or -errno. */
int listener_open(const char *path, int *ret_fd);

/* Empty, so that it can be closed. */
void listener_init(struct listener *listener);

/* Accepts on fd (owned from here on, also on failure) and calls fn; the accepted sockets do not
 * block and close on exec. 0 or -errno. */
int listener_start(struct listener *listener, struct loop *loop, int fd,
	void (*fn)(struct listener *listener, int fd));

/* Leaves connections in the socket's queue, or takes them again. Harmless on an empty one. */
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

void listener_close(struct listener *listener);
