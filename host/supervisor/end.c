/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine's end: everybody is told, a record is left, nothing else. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/vm_files.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/limits.h"
#include "proto/log.h"

#define CLOSE_MS 1000 /* for answers to be taken */

static void answer_open(struct machine *machine, uint64_t after_ms)
{
	struct postern_error gone = {0};

	if (machine->end.failure == POSTERN_DONE)
		(void)fail(&gone, POSTERN_ABSENT, 0, "the VM was stopped");
	else
		(void)fail(&gone, machine->end.failure, machine->end.sys_errno, "%s",
			machine->end.message);
	machine_tell(machine, &machine->waiting_start, &gone);
	machine_tell(machine, &machine->waiting_ready, &gone);
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		if (machine->shares[i].request) {
			request_fail(machine->shares[i].request, &gone, NULL);
			machine->shares[i].request = NULL;
		}
	disks_end(machine, &gone);
	if (machine->pausing)
		request_fail(machine->pausing, &gone, NULL);
	machine->pausing = NULL;
	if (machine->ballooning)
		request_fail(machine->ballooning, &gone, NULL);
	machine->ballooning = NULL;
	if (machine->stop.request)
		request_return(
			machine->stop.request, json_pack("{s:s, s:I}", "how", machine->stop.how,
						       "after_ms", (json_int_t)after_ms));
	machine->stop.request = NULL;
}

static const char *end_reason(const struct machine *machine)
{
	const char *how = machine->stop.how ? machine->stop.how : "";

	if (machine->end.failure != POSTERN_DONE)
		return machine->end.message;
	return strcmp(how, "quit") == 0 || strcmp(how, "kill") == 0 ? "Forced to stop"
								    : "Clean shutdown";
}

static void record_end(struct machine *machine)
{
	AUTO_JSON json_t *record = json_pack("{s:s, s:s, s:I, s:I, s:o}", "status",
		machine->end.failure == POSTERN_DONE ? "stopped" : "failed", "reason",
		end_reason(machine), "uptime_ms",
		(json_int_t)((clock_ns(CLOCK_BOOTTIME) - machine->started) / NSEC_PER_MSEC),
		"ended", (json_int_t)time(NULL), "console",
		console_last_lines(&machine->console, CONSOLE_LINES));
	int r = record ? file_replace_json(machine->dir_fd, VM_FILE_END, record) : -ENOMEM;

	if (r < 0)
		log_error("the end cannot be recorded: %s", strerror(-r));
}

void machine_end(struct machine *machine)
{
	char path[PATH_MAX], ready_path[PATH_MAX];
	uint64_t stop_ms = 0;

	if (machine->stop.started)
		stop_ms = (monotonic_ns() - machine->stop.started) / NSEC_PER_MSEC;
	machine->state = MACHINE_ENDED;
	loop_timer_del(&machine->ready_deadline);
	loop_timer_del(&machine->stop.timer);
	loop_timer_del(&machine->balloon_timer);
	remount_stop(&machine->remount);
	ready_close(&machine->ready);
	if (machine->vmm)
		machine->driver->close(machine->vmm);
	machine->vmm = NULL;
	/* The VMM first: what it still writes to its helpers is taken. */
	process_signal(&machine->vmm_process, SIGKILL);
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		if (machine->shares[i].state != SHARE_FREE)
			share_stop(&machine->shares[i]);
	processes_done(&machine->processes);
	console_close(&machine->console);
	console_close(&machine->virtio_console);
	record_end(machine);
	(void)machine_path(machine, path, VM_FILE_VSOCK);
	(void)snprintf(ready_path, sizeof(ready_path), "%.4000s_%d", path, POSTERN_READY_PORT);
	(void)unlink(path);
	(void)unlink(ready_path);
	(void)unlinkat(machine->dir_fd, VM_FILE_CONTROL, 0);
	/* Nothing of it is left: who hears of the end may launch the name again at once. */
	if (machine->config.lease)
		(void)unlink(machine->config.lease);
	(void)close(SUPERVISOR_FD_LEASE);
	(void)close(SUPERVISOR_FD_LOCK);
	control_event(
		&machine->control, json_pack("{s:s, s:s}", "name", "state", "state", "ended"));
	answer_open(machine, stop_ms);
	control_close(&machine->control, CLOSE_MS);
}
