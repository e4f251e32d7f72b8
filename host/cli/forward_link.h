/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way to a guest's agent that forwards, in an event loop: the connection, forward.open, and its
 * first channel. */
#pragma once

#include <jansson.h>

#include "host/cli/forward_spec.h"
#include "host/common/link.h"
#include "proto/client/channel.h"

struct forward_link {
	struct forward_spec *specs; /* borrowed */
	size_t n;
	/* It stands: control is the first channel. */
	void (*up)(struct forward_link *link);
	/* It has ended, or did not come about; closed. The error is borrowed. */
	void (*down)(struct forward_link *link, struct postern_error *error);

	struct link agent;
	bool asked;
	json_t *answer;                  /* owned; of forward.open */
	struct postern_error failed;     /* what was answered instead; owned */
	struct postern_channel *channel; /* owned; being opened */
	struct loop_io io;               /* of that */
	struct loop_timer late;
	int control; /* owned; -EBADF until it is there */
};

/* Begins to connect, and to have the guest listen; ports that it chooses are put into the specs.
 * specs, n, up and down are set already. 0, or -errno with *error; down is not called then. */
int forward_link_open(
	struct forward_link *link, struct loop *loop, const char *vm, struct postern_error *error);

/* Safe on one that is not there. down is not called. */
void forward_link_close(struct forward_link *link);
