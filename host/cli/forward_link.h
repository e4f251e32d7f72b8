/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way to a guest's agent that forwards: the connection, forward.open, and its first channel. */
#pragma once

#include <jansson.h>

#include "host/cli/forward_spec.h"
#include "proto/client/client.h"

struct forward_link {
	struct postern_client *client; /* owned; NULL: there is none */
	int control;                   /* owned; the first channel */
};

/* Connects, and has the guest listen; ports that it chose are put into the specs. Blocks for a few
 * seconds at most. 0, or -errno with *error. */
int forward_link_open(struct forward_link *link, const char *vm, struct forward_spec *specs,
	size_t n, struct postern_error *error);

/* Safe on one that is not there. */
void forward_link_close(struct forward_link *link);
