/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's part of a measurement. */
#pragma once

#include "host/cli/perf_result.h"
#include "host/cli/perf_streams.h"

/*
 * Measures on streams that are all there. *result has what was measured, also when it was not all.
 * factor: of the times that the guest has for each step. 0 or -errno with *error. Blocks; tells how
 * far it is on standard error, where that is a terminal.
 */
int perf_run(const struct perf_streams *streams, const struct perf_size *size, unsigned int factor,
	struct perf_result *result, struct postern_error *error);
