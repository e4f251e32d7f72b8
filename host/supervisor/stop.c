/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a VM that was asked for, in steps: wait for a guest that was told to shut down, press
 * its power button, tell the VMM to quit, kill it. Each has its time; the VMM's end ends them all.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define QUIT_MS 3000

static void on_step_over(struct loop_timer *timer);

static void on_asked(void *ctx, const struct postern_error *error)
{
	(void)ctx;
	if (error)
		log_warning("%s", error->message);
}

static void arm(struct machine *machine, uint32_t ms)
{
	machine->stop.timer.fn = on_step_over;
	loop_timer_set(&machine->loop, &machine->stop.timer, monotonic_ns() + ms * NSEC_PER_MSEC);
}

static void press_button(struct machine *machine)
{
	machine->stop.how = "powerdown";
	arm(machine, machine->stop.powerdown_ms);
	machine->driver->powerdown(machine->vmm, on_asked, machine);
}

static void quit(struct machine *machine)
{
	machine->stop.how = "quit";
	arm(machine, QUIT_MS);
	if (machine->driver->quit)
		machine->driver->quit(machine->vmm, on_asked, machine);
	else
		process_signal(&machine->vmm_process, SIGTERM);
}

static void on_step_over(struct loop_timer *timer)
{
	struct machine *machine = container_of(timer, struct machine, stop.timer);

	if (strcmp(machine->stop.how, "agent") == 0) {
		press_button(machine);
	} else if (strcmp(machine->stop.how, "powerdown") == 0) {
		quit(machine);
	} else {
		machine->stop.how = "kill";
		process_signal(&machine->vmm_process, SIGKILL);
	}
}

void machine_stop(struct machine *machine, struct request *request, const char *how,
	uint32_t agent_ms, uint32_t powerdown_ms)
{
	bool forced = strcmp(how, "quit") == 0;
	struct postern_error error = {0};

	if (machine->stop.request && request) {
		if (!forced) {
			(void)fail(
				&error, POSTERN_ANSWERED, EBUSY, "the VM is being stopped already");
			request_fail(request, &error, NULL);
			return;
		}
		/* Somebody waits for a clean end: with this it is none. */
		(void)fail(&error, POSTERN_ANSWERED, ECANCELED,
			"the VM was stopped by force meanwhile");
		request_fail(machine->stop.request, &error, NULL);
		machine->stop.request = NULL;
	}
	if (request)
		machine->stop.request = request;
	if (machine->state == MACHINE_STOPPING && !forced)
		return;
	if (!machine->stop.started)
		machine->stop.started = monotonic_ns();
	machine->stop.powerdown_ms = powerdown_ms;
	ready_wait_for_hint(&machine->ready);
	loop_timer_del(&machine->ready_deadline);
	machine_enter(machine, MACHINE_STOPPING);
	if (forced) {
		quit(machine);
	} else if (strcmp(how, "agent") == 0) {
		machine->stop.how = "agent";
		arm(machine, agent_ms);
	} else {
		press_button(machine);
	}
}
