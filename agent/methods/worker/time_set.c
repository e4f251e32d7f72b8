/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/clock_step.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define SLEW_MOST_NS ((int64_t)(10 * NSEC_PER_SEC))

static int open_rtc(void)
{
	int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* rtc(4): in UTC, as every guest but one of another system's user has it. */
static int read_rtc(int64_t *ret_ns)
{
	AUTO_CLOSE int fd = open_rtc();
	struct rtc_time now = {0};
	struct tm utc;

	if (fd < 0)
		return fd;
	if (ioctl(fd, RTC_RD_TIME, &now) < 0)
		return -errno;
	utc = (struct tm){.tm_sec = now.tm_sec,
		.tm_min = now.tm_min,
		.tm_hour = now.tm_hour,
		.tm_mday = now.tm_mday,
		.tm_mon = now.tm_mon,
		.tm_year = now.tm_year};
	*ret_ns = (int64_t)timegm(&utc) * (int64_t)NSEC_PER_SEC;
	return 0;
}

int clock_set_hardware(void)
{
	AUTO_CLOSE int fd = open_rtc();
	struct rtc_time next = {0};
	/* It counts whole seconds: the nearest. */
	time_t now = (time_t)((clock_ns(CLOCK_REALTIME) + NSEC_PER_SEC / 2) / NSEC_PER_SEC);
	struct tm utc;

	if (fd < 0)
		return fd;
	if (!gmtime_r(&now, &utc))
		return -EOVERFLOW;
	next.tm_sec = utc.tm_sec;
	next.tm_min = utc.tm_min;
	next.tm_hour = utc.tm_hour;
	next.tm_mday = utc.tm_mday;
	next.tm_mon = utc.tm_mon;
	next.tm_year = utc.tm_year;
	return ioctl(fd, RTC_SET_TIME, &next) < 0 ? -errno : 0;
}

/* By how much the clock is to be moved. */
static int find_adjustment(
	struct call *call, const Postern__V1__TimeSetRequest *request, int64_t now, int64_t *ret)
{
	int64_t wanted;
	int r;

	if (request->has_time_ns + request->has_adjust_ns + request->from_hardware != 1)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"expected one of time_ns, adjust_ns and from_hardware");
	if (request->has_adjust_ns) {
		*ret = request->adjust_ns;
		return 0;
	}
	wanted = request->time_ns;
	r = request->from_hardware ? read_rtc(&wanted) : 0;
	if (r < 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, -r,
			"the machine's own clock (/dev/rtc0) cannot be read");
	if (wanted < 0)
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, ERANGE, "time_ns: before 1970");
	*ret = wanted - now;
	return 0;
}

int clock_step(struct call *call, int64_t adjust)
{
	struct timespec next;
	int64_t now = (int64_t)clock_ns(CLOCK_REALTIME), then;

	if (__builtin_add_overflow(now, adjust, &then) || then < 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ERANGE,
			"the clock would be before 1970, or after 2262");
	next.tv_sec = (time_t)(then / (int64_t)NSEC_PER_SEC);
	next.tv_nsec = (long)(then % (int64_t)NSEC_PER_SEC);
	worker_changing(call);
	if (clock_settime(CLOCK_REALTIME, &next) == 0)
		return 0;
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	if (errno == EINVAL)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EINVAL,
			"the kernel takes no such time");
	return call_fail_errno(call, -errno, "the clock");
}

static int slew(struct call *call, int64_t adjust)
{
	struct timeval by;

	if (adjust > SLEW_MOST_NS || adjust < -SLEW_MOST_NS)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ERANGE,
			"%.3f s is too far for a slew, which takes 2000 times as long; step it",
			(double)adjust / (double)NSEC_PER_SEC);
	by.tv_sec = (time_t)(adjust / (int64_t)NSEC_PER_SEC);
	by.tv_usec = (suseconds_t)(adjust % (int64_t)NSEC_PER_SEC / (int64_t)NSEC_PER_USEC);
	worker_changing(call);
	if (adjtime(&by, NULL) == 0)
		return 0;
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	return call_fail_errno(call, -errno, "the clock");
}

int time_set(struct call *call, const Postern__V1__TimeSetRequest *request,
	Postern__V1__TimeSetReply *reply)
{
	bool slews = request->mode == POSTERN__V1__TIME_MODE__SLEW;
	bool wants_rtc = request->has_set_hardware ? request->set_hardware
						   : !slews && !request->from_hardware;
	int64_t adjust = 0;
	int r;

	if (slews && request->set_hardware)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"set_hardware goes with a step: the clock is right at the end of a slew "
			"only");
	reply->has_before_ns = reply->has_adjusted_ns = reply->has_hardware_set = true;
	reply->before_ns = (int64_t)clock_ns(CLOCK_REALTIME);
	r = find_adjustment(call, request, reply->before_ns, &adjust);
	if (r == 0)
		r = slews ? slew(call, adjust) : clock_step(call, adjust);
	if (r < 0)
		return r;
	reply->adjusted_ns = adjust;
	r = wants_rtc ? clock_set_hardware() : -ENOENT;
	reply->hardware_set = r == 0;
	if (r == 0 || !request->set_hardware)
		return 0;
	call->outcome = POSTERN__V1__OUTCOME__DONE;
	return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, -r,
		"the clock is set, but the machine's own (/dev/rtc0) is not");
}
