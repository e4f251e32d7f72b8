/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/init_kind.h"
#include "agent/methods/hooks.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/sleep_mode.h"
#include "agent/methods/systemd.h"
#include "agent/worker/worker.h"
#include "proto/clock.h"
#include "proto/log.h"

#define MODE(name) POSTERN__V1__SUSPEND_MODE__##name

#define ANSWER_NS 100000000                      /* for the answer to reach the caller */
#define SLEPT_NS  (10 * (uint64_t)NSEC_PER_MSEC) /* less passes between two clocks' reading */
#define LOOK_NS   50000000
#define SLEEP_NS  (30 * (uint64_t)NSEC_PER_SEC) /* for process 1 to bring it to sleep */

/* For how long the guest has slept since its boot. */
static uint64_t slept(void)
{
	return clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC);
}

/* It does not wait for the guest to wake, so the clocks are looked at: only one of them goes on in
 * its sleep. */
static int sleep_by_systemd(Postern__V1__SuspendMode mode)
{
	const char *target = mode == MODE(RAM)    ? "suspend.target"
			     : mode == MODE(DISK) ? "hibernate.target"
						  : "hybrid-sleep.target";
	uint64_t before = slept(), until = monotonic_ns() + SLEEP_NS;
	int r = systemd_start(target);

	while (r == 0 && slept() < before + SLEPT_NS && monotonic_ns() < until)
		(void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	return r < 0 || slept() >= before + SLEPT_NS ? r : -ETIMEDOUT;
}

static void act(struct call *call, int arg)
{
	Postern__V1__SuspendMode mode = (Postern__V1__SuspendMode)arg;
	struct hook_result hooks;
	int r;

	(void)nanosleep(&(struct timespec){.tv_nsec = ANSWER_NS}, NULL);
	r = init_kind() == INIT_SYSTEMD ? sleep_by_systemd(mode) : sleep_by_kernel(mode);
	if (r < 0)
		log_error("the guest did not fall asleep: %s", strerror(-r));
	(void)hooks_call(call, HOOK_RESUME, &hooks);
	if (hooks.end != HOOK_OK)
		log_warning("hook resume/%s failed", hooks.name);
}

static int refuse(struct call *call, Postern__V1__SuspendMode mode)
{
	const char *driver = sleep_blocking_driver();

	if (!sleep_mode_is_offered(mode))
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EOPNOTSUPP,
			"the kernel of this guest offers no such sleep (/sys/power)");
	if (driver)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EOPNOTSUPP,
			"the driver %s cannot sleep: remove the shares of this guest first",
			driver);
	return 0;
}

int power_suspend(struct call *call, const Postern__V1__PowerSuspendRequest *request,
	Postern__V1__PowerSuspendReply *reply)
{
	Postern__V1__SuspendMode mode =
		request->mode == MODE(SUSPEND_MODE_UNSPECIFIED) ? MODE(RAM) : request->mode;
	struct hook_result hooks, undone;
	int r = refuse(call, mode);

	if (r < 0)
		return r;
	(void)hooks_call(call, HOOK_SUSPEND, &hooks);
	if (hooks.end != HOOK_OK) {
		(void)hooks_call(call, HOOK_RESUME, &undone);
		return hooks_fail(call, HOOK_SUSPEND, &hooks, "; the guest stays awake");
	}
	worker_changing(call);
	reply->has_mode = true;
	reply->mode = mode;
	reply->by = init_kind() == INIT_SYSTEMD ? (char *)"systemd" : (char *)"kernel";
	/* The answer first: the guest cannot give it in its sleep. */
	call->after = act;
	call->after_arg = (int)mode;
	return 0;
}
