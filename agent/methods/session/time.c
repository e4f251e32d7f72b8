/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/timex.h>

#include "agent/methods/prototypes.h"
#include "proto/clock.h"

int time_get(struct call *call, const Postern__V1__TimeGetRequest *request,
	Postern__V1__TimeGetReply *reply)
{
	struct timex kernel = {.modes = ADJ_OFFSET_SS_READ};
	int state;

	(void)call;
	(void)request;
	/* Of the offset alone this reads what adjtime(3) left; the rest is as ever (do_adjtimex()
	 * of kernel/time/ntp.c). */
	state = adjtimex(&kernel);
	if (state >= 0) {
		reply->has_slew_left_ns = reply->has_synchronized = reply->has_error_ns = true;
		reply->slew_left_ns = (int64_t)kernel.offset * (int64_t)NSEC_PER_USEC;
		reply->synchronized = state != TIME_ERROR && !(kernel.status & STA_UNSYNC);
		reply->error_ns = (uint64_t)kernel.maxerror * NSEC_PER_USEC;
	}
	reply->has_time_ns = reply->has_boottime_ns = reply->has_monotonic_ns = true;
	reply->time_ns = (int64_t)clock_ns(CLOCK_REALTIME);
	reply->boottime_ns = clock_ns(CLOCK_BOOTTIME);
	reply->monotonic_ns = clock_ns(CLOCK_MONOTONIC);
	return 0;
}
