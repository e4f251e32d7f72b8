/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/wake.h"

#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/broker/generation.h"
#include "agent/broker/ready.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define NEVER_S  INT64_C(253402300799) /* the end of the year 9999 */
#define LEAST_NS (50 * NSEC_PER_MSEC)  /* two clocks are not read in the same moment */

/* CLOCK_MONOTONIC stands still while the guest sleeps. */
static uint64_t slept_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC);
}

/* Read, it says that the clock was set (timerfd_create(2)), which a sleep ends with, too. */
static void arm(struct broker *broker)
{
	const struct itimerspec never = {.it_value.tv_sec = NEVER_S};

	(void)timerfd_settime(
		broker->wake, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

static void on_set(struct loop_io *io, uint32_t events)
{
	struct broker *broker = container_of(io, struct broker, wake_io);
	uint64_t expired, slept = slept_ns();

	(void)events;
	(void)!read(broker->wake, &expired, sizeof(expired));
	arm(broker);
	if (slept < broker->slept_ns + LEAST_NS)
		return;
	log_info("the guest was asleep for %" PRIu64 " ms",
		(slept - broker->slept_ns) / NSEC_PER_MSEC);
	broker->slept_ns = slept;
	generation_check(broker);
	ready_again(broker);
}

void wake_start(struct broker *broker)
{
	AUTO_CLOSE int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return;
	broker->slept_ns = slept_ns();
	broker->wake_io.fn = on_set;
	if (loop_io_add(&broker->loop, &broker->wake_io, fd, EPOLLIN) < 0)
		return;
	broker->wake = take_fd(&fd);
	arm(broker);
}
