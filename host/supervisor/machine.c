/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/machine.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/supervisor/boot.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/log.h"

const char *machine_path(const struct machine *machine, char path[PATH_MAX], const char *name)
{
	/* main() has checked that the directory leaves room for every name of ours. */
	(void)snprintf(path, PATH_MAX, "%.4000s/%s", machine->dir, name);
	return path;
}

void machine_enter(struct machine *machine, enum machine_state state)
{
	machine->state = state;
	control_event(&machine->control,
		json_pack("{s:s, s:s}", "name", "state", "state", machine_state_name(machine)));
	for (struct request *request = machine->waiting_ready; request; request = request->next)
		request_progress(request, json_pack("{s:s}", "state", machine_state_name(machine)));
}

void machine_tell(struct machine *machine, struct request **list, const struct postern_error *error)
{
	struct request *all = *list;

	*list = NULL;
	while (all) {
		struct request *request = all;

		all = request->next;
		if (error)
			request_fail(request, error,
				json_pack("{s:o}", "console",
					console_last_lines(&machine->console, CONSOLE_LINES)));
		else
			request_return(request, machine_status(machine));
	}
}

/* ---- What happens to it ---- */

void machine_vmm_ended(struct process *process, int status)
{
	struct machine *machine = container_of(process, struct machine, vmm_process);
	const char *line = process_last_line(process);
	char text[64];

	if (machine->driver->kind->end_is_shutdown && status == 0 && !machine->guest_reason[0])
		(void)snprintf(
			machine->guest_reason, sizeof(machine->guest_reason), "guest-shutdown");
	if (machine->state == MACHINE_READY || machine->state == MACHINE_BOOTING) {
		if (strcmp(machine->guest_reason, "guest-shutdown") == 0 &&
			(machine->answered || machine->config.keep_silent))
			machine->end.failure = POSTERN_DONE;
		else if (machine->guest_reason[0])
			(void)fail(&machine->end, POSTERN_ABSENT, 0,
				"the guest ended by itself (%s)%s", machine->guest_reason,
				machine->answered ? "" : " before an agent answered");
		else
			(void)fail(&machine->end, POSTERN_ABSENT, 0,
				"the VMM ended unexpectedly with %s%s%s",
				process_status_text(status, text), *line ? ": " : "", line);
	} else if (machine->state == MACHINE_STARTING && machine->end.failure != POSTERN_DONE) {
		/* It has been refused something, or has broken down meanwhile. */
		(void)fail(&machine->end, machine->end.failure, machine->end.sys_errno,
			"the VMM did not start: %s%s%s", machine->end.message,
			*line ? "; it said last: " : "", line);
	} else if (machine->state == MACHINE_STARTING) {
		(void)fail(&machine->end, POSTERN_ANSWERED, 0, "the VMM did not start (%s)%s%s",
			process_status_text(status, text), *line ? ": " : "", line);
	}
	loop_stop(&machine->loop, 0);
}

void machine_vsockd_ended(struct process *process, int status)
{
	struct machine *machine = container_of(process, struct machine, vsockd);
	char text[64];

	if (process->killed || machine->state >= MACHINE_STOPPING)
		return;
	machine->channel_lost = true;
	log_error("postern-vsockd ended with %s", process_status_text(status, text));
	problem_tell(machine, PROBLEM_CHANNEL_LOST, NULL);
}

/* The VMM has connected to those that it was to connect to. */
static void forget_share_sockets(const struct machine *machine)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < machine->config.n_shares; i++)
		(void)unlink(share_socket_path(&machine->shares[i], path));
}

void machine_vmm_event(void *ctx, enum vmm_event event, const char *text)
{
	struct machine *machine = ctx;

	switch (event) {
	case VMM_STARTED:
		forget_share_sockets(machine);
		if (machine->state == MACHINE_STARTING)
			boot_begin(machine);
		break;
	case VMM_REFUSED:
		if (machine->state == MACHINE_STARTING)
			(void)fail(&machine->end, POSTERN_ANSWERED, 0, "%s", text);
		if (process_running(&machine->vmm_process))
			process_signal(&machine->vmm_process, SIGKILL);
		else
			loop_stop(&machine->loop, 1);
		break;
	case VMM_POWERED_DOWN:
		(void)postern_escape(
			text, strlen(text), machine->guest_reason, sizeof(machine->guest_reason));
		break;
	case VMM_PANICKED:
		(void)snprintf(machine->guest_reason, sizeof(machine->guest_reason), "guest-panic");
		break;
	case VMM_MEMORY:
		machine->plugged_bytes = strtoull(text, NULL, 10);
		control_event(&machine->control,
			json_pack("{s:s, s:I}", "name", "memory", "plugged_bytes",
				(json_int_t)machine->plugged_bytes));
		break;
	case VMM_ASLEEP:
	case VMM_AWAKE:
		machine->asleep = event == VMM_ASLEEP;
		if (machine->state <= MACHINE_READY)
			machine_enter(machine, machine->state);
		break;
	case VMM_RESET:
		machine->guest_reason[0] = '\0';
		machine->asleep = false;
		boot_again(machine);
		break;
	case VMM_SILENT:
		machine->vmm_silent = true;
		log_warning("the VMM does not answer");
		problem_tell(machine, PROBLEM_VMM_SILENT, NULL);
		break;
	case VMM_ANSWERS:
		machine->vmm_silent = false;
		log_info("the VMM answers again");
		break;
	case VMM_LOST:
		/* Without its monitor nothing can be done for it any more. */
		log_error("%s", text);
		process_signal(&machine->vmm_process, SIGKILL);
		break;
	}
}
