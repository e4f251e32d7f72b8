/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/init/service.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "proto/exec.h"
#include "proto/places.h"

#define QUICK_NS  (5 * NSEC_PER_SEC)    /* an end before that counts as a failed start */
#define LEAST_NS  (100 * NSEC_PER_MSEC) /* to the next start; doubled for each quick end */
#define DOUBLINGS 8                     /* at most 25 s */

void service_start(struct service *service)
{
	char program[PATH_MAX];
	char *argv[] = {program, NULL};
	int r;

	(void)snprintf(program, sizeof(program), "%s/posternd", place_sbin);
	service->started_ns = monotonic_ns();
	service->again_ns = 0;
	r = spawn_program(program, argv, -EBADF, false, &service->pid);
	if (r == 0)
		return;
	log_error("%s: %s", program, strerror(-r));
	service_ended(service, service->pid, 0);
}

void service_ended(struct service *service, pid_t pid, int status)
{
	uint64_t now = monotonic_ns(), pause = LEAST_NS;

	if (pid != service->pid)
		return;
	service->pid = 0;
	if (WIFSIGNALED(status))
		log_warning("posternd ended by signal %d", WTERMSIG(status));
	else
		log_warning("posternd ended: %d", WEXITSTATUS(status));
	if (now - service->started_ns < QUICK_NS)
		service->quick += service->quick < DOUBLINGS;
	else
		service->quick = 0;
	service->again_ns = now + (pause << service->quick);
}

void service_wait(const struct service *service, struct timespec *ret)
{
	uint64_t now = monotonic_ns(), ns = 3600 * NSEC_PER_SEC;

	if (service->again_ns != 0)
		ns = service->again_ns > now ? service->again_ns - now : 0;
	*ret = (struct timespec){
		.tv_sec = (time_t)(ns / NSEC_PER_SEC), .tv_nsec = (long)(ns % NSEC_PER_SEC)};
}

void service_check(struct service *service)
{
	if (service->again_ns != 0 && monotonic_ns() >= service->again_ns)
		service_start(service);
}
