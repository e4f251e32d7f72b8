/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to the VMM (the vhost-user front-end): one at a time, messages in, replies out.
 * What the messages mean is in control.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/listener.h"
#include "host/vsockd/vhost_user.h"
#include "proto/loop.h"

struct device;

struct frontend {
	struct listener listener;
	int fd; /* the one connected; owned, or -EBADF */
	struct loop_io io;
	struct loop_timer linger;
	bool once;   /* its end is this process's end */
	size_t have; /* bytes of the message under way */
	struct vhost_user_message message;
};

/* Empty, so that it can be closed. */
void frontend_init(struct frontend *frontend);

/* Waits for a front-end on a listening socket, or serves the connected socket; either is owned from
 * here on, also on failure. 0 or -errno. */
int frontend_listen(struct device *device, int fd);
int frontend_attach(struct device *device, int fd);

bool frontend_connected(const struct frontend *frontend);

/* Ends the connection: flows end except those that are draining, memory is given back. Waits for
 * the next one, or ends the loop when `once` is set. */
void frontend_drop(struct device *device);

void frontend_close(struct device *device);
