/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/methods/hooks.h"
#include "agent/methods/process1.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#define ANSWER_NS 100000000 /* for the answer to reach the caller */

static void act(struct call *call, int mode)
{
	int r;

	(void)call;
	(void)nanosleep(&(struct timespec){.tv_nsec = ANSWER_NS}, NULL);
	r = process1_bring_down(init_kind(), (Postern__V1__ShutdownMode)mode);
	if (r < 0)
		log_error("the guest could not be brought down: %s", strerror(-r));
}

int power_shutdown(struct call *call, const Postern__V1__PowerShutdownRequest *request,
	Postern__V1__PowerShutdownReply *reply)
{
	Postern__V1__ShutdownMode mode = request->mode;
	enum init_kind kind = init_kind();
	int r = process1_prepare(kind);
	struct hook_result hooks;

	if (mode == POSTERN__V1__SHUTDOWN_MODE__SHUTDOWN_MODE_UNSPECIFIED)
		mode = POSTERN__V1__SHUTDOWN_MODE__POWER_OFF;
	if (r == -EOPNOTSUPP)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, EOPNOTSUPP,
			"how to ask this guest's process 1 is not known; its power button may do");
	if (r < 0)
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, -r, "%s cannot be asked: %s",
			init_kind_name(kind), strerror(-r));
	(void)hooks_call(call, HOOK_SHUTDOWN, &hooks);
	if (hooks.end != HOOK_OK)
		return hooks_fail(call, HOOK_SHUTDOWN, &hooks, "; the guest stays up");
	reply->has_mode = true;
	reply->mode = mode;
	reply->by = (char *)init_kind_name(kind);
	/* The answer first: the connection does not outlive the act. */
	call->after = act;
	call->after_arg = (int)mode;
	return 0;
}
