/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* forward.open in two halves: what is opened before the answer, and what its channel serves. */
#pragma once

#include "agent/worker/worker.h"
#include "proto/forward/end.h"

#define FORWARD_ENDS_MAX 64 /* to listen, and as many to connect */

struct forward_place {
	struct forward_end end;
	int fd;  /* of a listener; owned by the process */
	int dir; /* of a listening UNIX socket: the folder that end names by number; else -EBADF */
};

struct forward {
	struct forward_place listen[FORWARD_ENDS_MAX];
	struct forward_place connect[FORWARD_ENDS_MAX];
	size_t n_listen, n_connect;
};

/* Serves until the caller closes the channel; state is the struct forward. */
void forward_serve(struct worker_channel *channel, int socket);
