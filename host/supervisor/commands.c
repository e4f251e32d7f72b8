/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of the control socket. */
#include <errno.h>
#include <string.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/supervisor/machine.h"
#include "host/supervisor/reader.h"
#include "proto/cleanup.h"

#define AGENT_MS_DEFAULT     10000
#define POWERDOWN_MS_DEFAULT 5000
#define STEP_MS_MAX          600000

static void status(void *ctx, struct request *request, const json_t *arguments)
{
	(void)arguments;
	request_return(request, machine_status(ctx));
}

static void on_launcher_gone(struct request *request, void *ctx)
{
	struct machine *machine = ctx;

	(void)request;
	if (machine->state <= MACHINE_BOOTING)
		machine_stop(machine, NULL, "quit", 0, 0);
}

/* Answers once the agent has answered a hello, or it is clear that it will not. {"own": true}: the
 * VM goes with the caller if that leaves before the answer. */
static void wait_ready(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	struct postern_error error = {0};

	if (machine->state == MACHINE_READY) {
		request_return(request, machine_status(machine));
		return;
	}
	if (machine->silent) {
		(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT, "no agent answered in time");
		request_fail(request, &error, NULL);
		return;
	}
	if (json_field_bool(arguments, "own", false))
		request->gone = on_launcher_gone;
	request->next = machine->waiting_ready;
	machine->waiting_ready = request;
	request_progress(request, json_pack("{s:s}", "state", machine_state_name(machine)));
}

/* Answers once the VMM runs, or did not start. */
static void wait_start(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (machine->state != MACHINE_STARTING) {
		request_return(request, machine_status(machine));
		return;
	}
	request->next = machine->waiting_start;
	machine->waiting_start = request;
}

static void events(void *ctx, struct request *request, const json_t *arguments)
{
	(void)arguments;
	request_subscribe(request);
	request_return(request, machine_status(ctx));
}

static uint32_t step_ms(const json_t *arguments, const char *key, uint32_t otherwise)
{
	json_int_t ms = json_field_int(arguments, key, otherwise);

	return ms < 0 || ms > STEP_MS_MAX ? STEP_MS_MAX : (uint32_t)ms;
}

/* {"how": "agent" | "powerdown" | "quit", "agent_ms": N, "powerdown_ms": N} */
static void stop(void *ctx, struct request *request, const json_t *arguments)
{
	static const char *const steps[] = {"agent", "powerdown", "quit"};
	const char *how = json_field_string(arguments, "how", "powerdown");
	struct postern_error error = {0};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (strcmp(how, steps[i]) == 0) {
			machine_stop(ctx, request, steps[i],
				step_ms(arguments, "agent_ms", AGENT_MS_DEFAULT),
				step_ms(arguments, "powerdown_ms", POWERDOWN_MS_DEFAULT));
			return;
		}
	(void)fail(&error, POSTERN_USAGE, EINVAL, "how is agent, powerdown or quit");
	request_fail(request, &error, NULL);
}

/* {"scrollback": BOOL, "virtio": BOOL}, true and false by default. Behind the answer the connection
 * is the guest's serial port, or its virtio console. */
static void console(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	bool virtio = json_field_bool(arguments, "virtio", false);
	struct console *which = virtio ? &machine->virtio_console : &machine->console;
	struct postern_error error = {0};
	int fd, r = which->n_readers < CONSOLE_READERS ? 0 : -EUSERS;

	if (virtio && !(machine->config.devices & DEVICE_CONSOLE)) {
		(void)fail(&error, POSTERN_ANSWERED, ENODEV, "The guest has no virtio console");
		request_fail(request, &error, NULL);
		return;
	}
	if (r == 0)
		r = request_hand_over(request, NULL, &fd);
	if (r == 0) {
		/* Where that fails it ends at once, which is what is left to say. */
		(void)reader_add(which, fd, json_field_bool(arguments, "scrollback", true));
		return;
	}
	if (r == -EUSERS)
		(void)fail(&error, POSTERN_REFUSED, EUSERS, "%d readers have the console already",
			CONSOLE_READERS);
	else
		(void)fail_errno(&error, POSTERN_USAGE, -r,
			"the console is for a connection that has asked for nothing else");
	request_fail(request, &error, NULL);
}

const struct control_command machine_commands[] = {
	{"status", status},
	{"wait-start", wait_start},
	{"wait-ready", wait_ready},
	{"events", events},
	{"stop", stop},
	{"pause", pause_command},
	{"resume", resume_command},
	{"snapshot", snapshot_command},
	{"balloon", balloon_command},
	{"balloon-stats", balloon_stats_command},
	{"memory-plug", memory_plug_command},
	{"memory-stats", memory_stats_command},
	{"console", console},
	{"share-add", share_add_command},
	{"share-remove", share_remove_command},
	{"disk-add", disk_add_command},
	{"disk-resize", disk_resize_command},
	{"disk-remove", disk_remove_command},
	{0},
};
