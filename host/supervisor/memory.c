/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's memory: what the balloon takes of it, and what is plugged besides. */
#include <errno.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/supervisor/machine.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define LOOK_NS (5 * NSEC_PER_SEC) /* between two looks at a balloon that is not there yet */

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

/* ---- A balloon that does not get there ---- */

static void look(struct machine *machine);

static void on_look(struct loop_timer *timer)
{
	look(container_of(timer, struct machine, balloon_timer));
}

static void on_size(void *ctx, const struct postern_error *error, const void *stats)
{
	struct machine *machine = ctx;
	struct balloon_watch *watch = &machine->balloon;
	bool was_stuck = watch->stuck;
	uint64_t now = monotonic_ns();

	/* A guest that stands still, or boots, cannot move it. */
	if (machine->paused || machine->state != MACHINE_READY)
		balloon_watch_hold(watch, now);
	else if (!error)
		balloon_watch_see(watch, ((const struct balloon_stats *)stats)->current_pages, now);
	if (watch->stuck && !was_stuck)
		problem_tell(machine, PROBLEM_BALLOON_STUCK, NULL);
	if (!watch->going)
		return;
	machine->balloon_timer.fn = on_look;
	loop_timer_set(&machine->loop, &machine->balloon_timer, now + LOOK_NS);
}

static void look(struct machine *machine)
{
	if (machine->vmm)
		machine->driver->balloon_size(machine->vmm, on_size, machine);
}

/* From here on, since the VMM's answer says nothing of the guest, until it is where it was asked to
 * be. */
static void on_balloon(void *ctx, const struct postern_error *error)
{
	struct machine *machine = ctx;
	struct request *request = machine->ballooning;

	machine->ballooning = NULL;
	on_done(request, error);
	if (error || !machine->driver->balloon_size)
		return;
	balloon_watch_begin(&machine->balloon, machine->balloon_asked, monotonic_ns());
	look(machine);
}

/* {"pages": N}: pages of 4 KiB that the balloon takes. */
void balloon_command(void *ctx, struct request *request, const json_t *arguments)
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
	} else if (machine->ballooning) {
		(void)fail(&error, POSTERN_ANSWERED, EBUSY,
			"the VMM was asked to move the balloon, and has not answered yet");
		request_fail(request, &error, NULL);
	} else {
		machine->ballooning = request;
		machine->balloon_asked = (uint64_t)pages;
		machine->driver->balloon(machine->vmm, (uint64_t)pages, on_balloon, machine);
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

void balloon_stats_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (running(machine, request) && has_balloon(machine, request))
		machine->driver->balloon_stats(machine->vmm, on_stats, request);
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
void memory_plug_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	json_int_t bytes = json_field_int(arguments, "bytes", -1);

	/* A negative number is more than there can be. */
	if (can_plug(machine, request, (uint64_t)bytes))
		machine->driver->plug_memory(machine->vmm, (uint64_t)bytes, on_done, request);
}

void memory_stats_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (can_plug(machine, request, 0))
		machine->driver->memory_stats(machine->vmm, on_memory, request);
}
