/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "agent/init_kind.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/systemd.h"
#include "proto/cleanup.h"
#include "proto/log.h"

/* What each init takes for each mode: our own and busybox by signal to process 1. */
static int signal_of(Postern__V1__ShutdownMode mode)
{
	switch (mode) {
	case POSTERN__V1__SHUTDOWN_MODE__REBOOT:
		return SIGTERM;
	case POSTERN__V1__SHUTDOWN_MODE__HALT:
		return SIGUSR1;
	default:
		return SIGUSR2;
	}
}

static const char *manager_method(Postern__V1__ShutdownMode mode)
{
	switch (mode) {
	case POSTERN__V1__SHUTDOWN_MODE__REBOOT:
		return "Reboot";
	case POSTERN__V1__SHUTDOWN_MODE__HALT:
		return "Halt";
	default:
		return "PowerOff";
	}
}

#define ANSWER_NS 100000000 /* for the answer to reach the caller */

static void act(int mode)
{
	int r;

	(void)nanosleep(&(struct timespec){.tv_nsec = ANSWER_NS}, NULL);
	if (init_kind() == INIT_SYSTEMD)
		r = systemd_manager_call(manager_method((Postern__V1__ShutdownMode)mode));
	else
		r = kill(1, signal_of((Postern__V1__ShutdownMode)mode)) < 0 ? -errno : 0;
	if (r < 0)
		log_error("the guest could not be brought down: %s", strerror(-r));
}

int power_shutdown(struct call *call, const Postern__V1__PowerShutdownRequest *request,
	Postern__V1__PowerShutdownReply *reply)
{
	static const char *const by[] = {[INIT_OTHER] = "init",
		[INIT_SYSTEMD] = "systemd",
		[INIT_POSTERN] = "postern-init",
		[INIT_OPENRC] = "init"};
	Postern__V1__ShutdownMode mode = request->mode;
	int r;

	if (mode == POSTERN__V1__SHUTDOWN_MODE__SHUTDOWN_MODE_UNSPECIFIED)
		mode = POSTERN__V1__SHUTDOWN_MODE__POWER_OFF;
	if (init_kind() == INIT_SYSTEMD) {
		r = systemd_available();
		if (r < 0)
			return call_fail_errno(call, r, "systemd cannot be asked");
	}
	reply->has_mode = true;
	reply->mode = mode;
	reply->by = (char *)by[init_kind()];
	/* The answer first: the connection does not outlive the act. */
	call->after = act;
	call->after_arg = (int)mode;
	return 0;
}
