/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pausing a machine, and keeping its state in a folder: the VMM's files, and the machine's own
 * vm.json, written last, which makes the folder a snapshot.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/remove.h"
#include "host/common/vm_files.h"
#include "host/supervisor/boot.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"

/* ---- Pause ---- */

/* What follows once the machine has been paused, or goes on. */
static void set_paused(struct machine *machine, bool paused)
{
	if (machine->paused == paused)
		return;
	machine->paused = paused;
	/* A guest that stands still is not late. */
	if (machine->state == MACHINE_BOOTING && paused) {
		loop_timer_del(&machine->ready_deadline);
		ready_wait_for_hint(&machine->ready);
	} else if (machine->state == MACHINE_BOOTING) {
		boot_set_deadline(machine);
		if (machine->ready.hinted)
			ready_ask(&machine->ready, machine->config.ready_ms);
		else
			ready_start(&machine->ready, machine->config.ready_ms);
	}
	if (machine->state <= MACHINE_READY)
		machine_enter(machine, machine->state);
}

static struct request *take_request(struct machine *machine)
{
	struct request *request = machine->pausing;

	machine->pausing = NULL;
	return request;
}

static void on_paused(void *ctx, const struct postern_error *error)
{
	struct machine *machine = ctx;

	if (!error)
		set_paused(machine, true);
	if (error)
		request_fail(take_request(machine), error, NULL);
	else
		request_return(take_request(machine), NULL);
}

static void on_resumed(void *ctx, const struct postern_error *error)
{
	struct machine *machine = ctx;

	if (!error)
		set_paused(machine, false);
	if (error)
		request_fail(take_request(machine), error, NULL);
	else
		request_return(take_request(machine), NULL);
}

/* True where the machine runs, and nobody else is just pausing or saving it; one that sleeps can
 * only be woken. */
static bool may_begin(struct machine *machine, struct request *request, bool wake)
{
	struct postern_error error = {0};

	if (!machine->vmm || machine->state == MACHINE_STARTING || machine->state > MACHINE_READY)
		(void)fail(&error, POSTERN_ABSENT, ENOTCONN, "the VM is not running");
	else if (machine->asleep && !wake)
		(void)fail(&error, POSTERN_ANSWERED, EBUSY,
			"the guest sleeps: postern resume wakes it");
	else if (machine->pausing)
		(void)fail(&error, POSTERN_ANSWERED, EBUSY,
			"the VM is just being paused, resumed or saved");
	else
		return true;
	request_fail(request, &error, NULL);
	return false;
}

void pause_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (!may_begin(machine, request, false))
		return;
	machine->pausing = request;
	if (machine->paused)
		on_paused(machine, NULL);
	else
		machine->driver->pause(machine->vmm, on_paused, machine);
}

void resume_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;

	(void)arguments;
	if (!may_begin(machine, request, true))
		return;
	machine->pausing = request;
	if (machine->paused || machine->asleep)
		machine->driver->resume(machine->vmm, on_resumed, machine);
	else
		on_resumed(machine, NULL);
}

/* ---- Snapshot ---- */

static void end_snapshot(struct machine *machine, const struct postern_error *error)
{
	struct request *request = take_request(machine);

	if (error) {
		(void)remove_tree(machine->snapshot.dir);
		request_fail(request, error, NULL);
	} else {
		request_return(request, json_pack("{s:s}", "dir", machine->snapshot.dir));
	}
}

/* The snapshot is as it is; only this can still be wrong with the machine. */
static void on_goes_on(void *ctx, const struct postern_error *error)
{
	struct machine *machine = ctx;
	struct postern_error stands = {0};

	if (!error) {
		set_paused(machine, false);
		end_snapshot(machine, machine->snapshot.error.failure == POSTERN_DONE
					      ? NULL
					      : &machine->snapshot.error);
		return;
	}
	(void)fail(&stands, error->failure, error->sys_errno,
		"the VM stays paused (postern resume): %s", error->message);
	if (machine->snapshot.error.failure == POSTERN_DONE)
		request_fail(take_request(machine), &stands, NULL);
	else
		end_snapshot(machine, &stands);
}

static void go_on(struct machine *machine)
{
	if (!machine->snapshot.resume)
		end_snapshot(machine, machine->snapshot.error.failure == POSTERN_DONE
					      ? NULL
					      : &machine->snapshot.error);
	else
		machine->driver->resume(machine->vmm, on_goes_on, machine);
}

static int write_config(const struct machine *machine)
{
	AUTO_CLOSE int fd =
		open(machine->snapshot.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_JSON json_t *object = vm_config_to_json(&machine->config);

	if (fd < 0)
		return -errno;
	return object ? file_replace_json(fd, VM_FILE_CONFIG, object) : -ENOMEM;
}

static void on_saved(void *ctx, const struct postern_error *error)
{
	struct machine *machine = ctx;
	int r = error ? 0 : write_config(machine);

	if (error)
		(void)fail(&machine->snapshot.error, error->failure, error->sys_errno, "%s",
			error->message);
	else if (r < 0)
		(void)fail_errno(&machine->snapshot.error, POSTERN_ANSWERED, -r, "%s",
			machine->snapshot.dir);
	go_on(machine);
}

static void on_stands(void *ctx, const struct postern_error *error)
{
	struct machine *machine = ctx;

	if (error) {
		end_snapshot(machine, error);
		return;
	}
	set_paused(machine, true);
	machine->driver->snapshot(machine->vmm, machine->snapshot.dir, on_saved, machine);
}

/* A device of another process has a state that no VMM's file has. */
static int check(struct machine *machine, const char *dir, struct postern_error *error)
{
	int r = vmm_can(machine->driver->kind, VMM_SNAPSHOT, POSTERN_ANSWERED, error);

	if (r < 0)
		return r;
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		if (machine->shares[i].state != SHARE_FREE)
			return fail(error, POSTERN_ANSWERED, EBUSY,
				"a machine with shares cannot be saved: remove %s first",
				machine->shares[i].config.tag);
	if (disks_any(machine))
		return fail(error, POSTERN_ANSWERED, EBUSY,
			"a machine with plugged disks cannot be saved: remove them first");
	if (dir[0] != '/' || strlen(dir) >= sizeof(machine->snapshot.dir))
		return fail(error, POSTERN_USAGE, EINVAL,
			"a snapshot's folder is an absolute path, of at most %zu bytes",
			sizeof(machine->snapshot.dir) - 1);
	return mkdir(dir, 0700) < 0 ? fail_errno(error, POSTERN_USAGE, errno, "%s", dir) : 0;
}

void snapshot_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	const char *dir = json_field_string(arguments, "dir", "");
	struct postern_error error = {0};

	if (!may_begin(machine, request, false))
		return;
	if (check(machine, dir, &error) < 0) {
		request_fail(request, &error, NULL);
		return;
	}
	(void)snprintf(machine->snapshot.dir, sizeof(machine->snapshot.dir), "%s", dir);
	machine->snapshot.error = (struct postern_error){0};
	machine->snapshot.resume = !machine->paused;
	machine->pausing = request;
	if (machine->paused)
		on_stands(machine, NULL);
	else
		machine->driver->pause(machine->vmm, on_stands, machine);
}
