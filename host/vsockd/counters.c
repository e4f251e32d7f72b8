/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/counters.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/log.h"

void counters_log(const struct counters *counters, unsigned streams)
{
	char line[1000];
	int len = snprintf(line, sizeof(line), "streams=%u", streams);

#define COUNTER_SHOW(name)                                                                         \
	if (len > 0 && (size_t)len < sizeof(line))                                                 \
		len += snprintf(line + len, sizeof(line) - (size_t)len, " " #name "=%" PRIu64,     \
			counters->name);
	COUNTERS(COUNTER_SHOW)
#undef COUNTER_SHOW
	log_info("%s", line);
}
