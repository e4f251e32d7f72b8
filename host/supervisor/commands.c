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

static bool running(struct machine *machine, struct request *request)
{
	struct postern_error error = {0};

	if (machine->vmm && machine->state <= MACHINE_READY)
		return true;
	(void)fail(&error, POSTERN_ABSENT, ENOTCONN, "the VM is not running");
	request_fail(request, &error, NULL);
	return false;
}

static bool has_balloon(const struct machine *machine, struct request *request)
{
	struct postern_error error = {0};

	if (machine->config.devices & DEVICE_BALLOON)
		return true;
	(void)fail(&error, POSTERN_ANSWERED, ENODEV, "The guest has no balloon device");
	request_fail(request, &error, NULL);
	return false;
}

static void on_done(void *ctx, const struct postern_error *error)
{
	struct request *request = ctx;

	if (error)
		request_fail(request, error, NULL);
	else
		request_return(request, NULL);
}

/* {"pages": N}: pages of 4 KiB that the balloon takes. */
static void balloon(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	json_int_t pages = json_field_int(arguments, "pages", -1);
	struct postern_error error = {0};

	if (!running(machine, request) || !has_balloon(machine, request))
		return;
	if (pages < 0) {
		(void)fail(&error, POSTERN_USAGE, EINVAL, "pages is a number of 4 KiB pages");
		request_fail(request, &error, NULL);
	} else if (vmm_check_balloon(machine->driver->kind, machine->config.memory_bytes,
			   (uint64_t)pages, &error) < 0) {
		request_fail(request, &error, NULL);
	} else {
		machine->driver->balloon(machine->vmm, (uint64_t)pages, on_done, request);
	}
}

static void on_stats(void *ctx, const struct postern_error *error, const void *stats)
{
	struct request *request = ctx;

	if (error)
		request_fail(request, error, NULL);
	else
		request_return(request, balloon_stats_to_json(stats));
}

static void balloon_stats(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (running(machine, request) && has_balloon(machine, request))
		machine->driver->balloon_stats(machine->vmm, on_stats, request);
}

/* {"scrollback": BOOL}, true by default. Behind the answer the connection is the guest's serial
 * port. */
static void console(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	struct postern_error error = {0};
	int fd, r = machine->console.n_readers < CONSOLE_READERS ? 0 : -EUSERS;

	if (r == 0)
		r = request_hand_over(request, NULL, &fd);
	if (r == 0) {
		/* Where that fails it ends at once, which is what is left to say. */
		(void)reader_add(
			&machine->console, fd, json_field_bool(arguments, "scrollback", true));
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

static void on_memory(void *ctx, const struct postern_error *error, const void *stats)
{
	struct request *request = ctx;

	if (error)
		request_fail(request, error, NULL);
	else
		request_return(request, memory_stats_to_json(stats));
}

static bool can_plug(struct machine *machine, struct request *request, uint64_t bytes)
{
	struct postern_error error = {0};

	if (!running(machine, request))
		return false;
	if (vmm_check_plug(machine->driver->kind, &machine->config, bytes, &error) == 0)
		return true;
	request_fail(request, &error, NULL);
	return false;
}

/* {"bytes": N}: to be plugged, all in all. */
static void plug_memory(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	json_int_t bytes = json_field_int(arguments, "bytes", -1);

	/* A negative number is more than there can be. */
	if (can_plug(machine, request, (uint64_t)bytes))
		machine->driver->plug_memory(machine->vmm, (uint64_t)bytes, on_done, request);
}

static void memory_stats(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (can_plug(machine, request, 0))
		machine->driver->memory_stats(machine->vmm, on_memory, request);
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
	{"balloon", balloon},
	{"balloon-stats", balloon_stats},
	{"memory-plug", plug_memory},
	{"memory-stats", memory_stats},
	{"console", console},
	{"share-add", share_add_command},
	{"share-remove", share_remove_command},
	{"disk-add", disk_add_command},
	{"disk-remove", disk_remove_command},
	{0},
};
