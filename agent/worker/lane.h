/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The far end of a lane (agent/lane.h). */
#pragma once

#include "agent/worker/worker.h"

/*
 * INNER_SERVE: answers what comes by the lane, fds[0], until the caller leaves, nothing has come
 * for a while, or the broker wants the process elsewhere. Takes the descriptors it keeps out of
 * fds. 0, or -errno: the process should end.
 */
int lane_serve(struct worker *worker, const struct inner_message *message, int fds[INNER_FDS_MAX],
	size_t n_fds);
