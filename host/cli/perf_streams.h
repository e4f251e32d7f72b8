/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The nine streams of a measurement, as the guest opens them. */
#pragma once

#include <stdbool.h>

#include "host/lib/postern.h"
#include "proto/perf/perf.h"

#define PERF_OPEN_S 15 /* for all of them */

struct perf_streams {
	struct postern_listener *listener;
	bool in_band;          /* a stream begins with its port, which cannot be seen */
	int fds[PERF_STREAMS]; /* owned; -EBADF: not there yet */
};

/* Listens. 0 or -errno with *error. */
int perf_streams_listen(struct perf_streams *streams, const char *vm, struct postern_error *error);

/* Takes all of them; who comes besides is an error, as is one that comes twice. factor: of the time
 * for it. 0 or -errno with *error. */
int perf_streams_accept(
	struct perf_streams *streams, unsigned int factor, struct postern_error *error);

/* Closes what there is. */
void perf_streams_close(struct perf_streams *streams);
