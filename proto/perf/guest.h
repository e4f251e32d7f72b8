/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's part. */
#pragma once

#include "proto/perf/perf.h"

/* Does all of it on streams[PERF_STREAMS] (borrowed), for as long as nothing happens to life. 0
 * when all was measured, or -errno as perf_move(). Blocks. */
int perf_serve(const int *streams, const struct perf_size *size, int life);
