/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * postern-init: process 1 of a guest that has nothing else. It mounts the basics, has the boot
 * modules loaded, starts posternd and starts it again whenever it ends, starts the programs of
 * /etc/postern/start.d, reaps, and powers off. It meets no peer's data.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/init/basics.h"
#include "agent/init/service.h"
#include "agent/init/start.h"
#include "proto/clock.h"
#include "proto/log.h"

#define END_NS (2 * NSEC_PER_SEC) /* for processes to end by themselves */

/* What the signals of power.shutdown ask for, as busybox's init has them: an argument of reboot(2),
 * any of which may be a negative int. False: nothing. */
static bool act_of(int sig, int *ret_act)
{
	switch (sig) {
	case SIGUSR1:
		*ret_act = (int)RB_HALT_SYSTEM;
		return true;
	case SIGTERM:
	case SIGINT: /* Ctrl-Alt-Del */
		*ret_act = RB_AUTOBOOT;
		return true;
	case SIGUSR2:
	case SIGPWR:
		*ret_act = RB_POWER_OFF;
		return true;
	default:
		return false;
	}
}

/* Reaps whatever has ended; the service is started again then. */
static void reap(struct service *service)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		service_ended(service, pid, status);
}

static void bring_down(int act)
{
	uint64_t until = monotonic_ns() + END_NS;

	log_info("bringing the guest down");
	(void)kill(-1, SIGTERM);
	while (monotonic_ns() < until && waitpid(-1, NULL, WNOHANG) >= 0)
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	(void)kill(-1, SIGKILL);
	basics_undo();
	sync();
	(void)reboot(act);
	/* Only a kernel without power control comes back. */
	for (;;)
		pause();
}

int main(void)
{
	struct service service = {0};
	sigset_t all;

	/* Others tell by this name what runs here. */
	(void)prctl(PR_SET_NAME, "postern-init");
	sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	log_open("postern-init", LOG_LEVEL_INFO);
	if (getpid() != 1) {
		log_error("this is process 1 of a small guest; start posternd elsewhere");
		return 2;
	}
	basics_do();
	(void)reboot(RB_DISABLE_CAD);
	service_start(&service);
	start_programs();
	for (;;) {
		struct timespec wait;
		siginfo_t info;
		int sig, act;

		service_wait(&service, &wait);
		sig = sigtimedwait(&all, &info, &wait);
		if (sig == SIGCHLD)
			reap(&service);
		else if (sig > 0 && act_of(sig, &act))
			bring_down(act);
		service_check(&service);
	}
}
