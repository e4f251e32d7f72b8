/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

static void on_late(struct loop_timer *timer)
{
	struct machine *machine = container_of(timer, struct machine, ready_deadline);
	struct postern_error error = {0};

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT,
		"no agent answered within %u s (last try: %s)", machine->config.ready_ms / 1000,
		machine->ready.last_problem[0] ? machine->ready.last_problem : "none");
	log_warning("%s", error.message);
	if (machine->config.keep_silent || machine->answered) {
		machine->silent = true;
		problem_tell(machine, PROBLEM_NO_AGENT, NULL);
		if (!machine->answered && machine->driver->booted)
			machine->driver->booted(machine->vmm);
		machine_tell(machine, &machine->waiting_ready, &error);
		return;
	}
	machine->end = error;
	loop_stop(&machine->loop, 1);
}

void boot_set_deadline(struct machine *machine)
{
	machine->ready_deadline.fn = on_late;
	loop_timer_set(&machine->loop, &machine->ready_deadline,
		monotonic_ns() + machine->config.ready_ms * NSEC_PER_MSEC);
}

void boot_begin(struct machine *machine)
{
	machine_enter(machine, MACHINE_BOOTING);
	machine_tell(machine, &machine->waiting_start, NULL);
	if (machine->config.restore && !machine->answered)
		ready_ask(&machine->ready, machine->config.ready_ms);
	else
		ready_start(&machine->ready, machine->config.ready_ms);
}

void boot_again(struct machine *machine)
{
	/* Told more than once for one reset; and before the first answer QEMU ends instead. */
	if (machine->state != MACHINE_READY)
		return;
	log_info("the guest was reset");
	control_event(&machine->control, json_pack("{s:s}", "name", "reset"));
	remount_stop(&machine->remount);
	boot_set_deadline(machine);
	boot_begin(machine);
}

void boot_answered(void *ctx, const struct postern_peer *peer)
{
	struct machine *machine = ctx;
	bool new_boot = memcmp(machine->boot_id, peer->boot_id, sizeof(machine->boot_id)) != 0;
	bool again = machine->answered && new_boot;

	(void)snprintf(machine->agent_version, sizeof(machine->agent_version), "%.63s",
		peer->agent_version);
	memcpy(machine->boot_id, peer->boot_id, sizeof(machine->boot_id));
	if (machine->state == MACHINE_BOOTING) {
		machine->silent = false;
		loop_timer_del(&machine->ready_deadline);
		if (!machine->answered) {
			machine->ready_after_ms =
				(clock_ns(CLOCK_BOOTTIME) - machine->started) / NSEC_PER_MSEC;
			if (machine->driver->booted)
				machine->driver->booted(machine->vmm);
		}
		machine->answered = true;
		log_info("the agent answered%s, %s", again ? " after the guest's new boot" : "",
			machine->ready.hinted ? "having said that it was ready"
					      : "having said nothing");
		machine_enter(machine, MACHINE_READY);
		machine_tell(machine, &machine->waiting_ready, NULL);
	}
	/* Without a reset too: a kernel can start another one by itself. */
	if (again && machine->state == MACHINE_READY)
		remount_start(&machine->remount, machine);
}
