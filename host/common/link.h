/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of the guest's agent in an event loop. */
#pragma once

#include <stdint.h>

#include "proto/client/client.h"
#include "proto/loop.h"

struct link {
	struct loop *loop;
	struct postern_client *client; /* NULL: closed */
	struct loop_io io;
	struct loop_timer deadline;
	/* Something was dispatched. error: the connection has ended, and every open call was told;
	 * borrowed. The function may close the link. */
	void (*fn)(struct link *link, const struct postern_error *error);
};

/* Starts to connect (postern_client_start()): options are its own. Does not block. 0, or -errno
 * with *error; the link is closed then. */
int link_open(struct link *link, struct loop *loop, const char *address,
	const struct postern_options *options,
	void (*fn)(struct link *link, const struct postern_error *error),
	struct postern_error *error);

/* Harmless where it is closed. */
void link_close(struct link *link);
