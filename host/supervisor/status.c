/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the supervisor tells about its VM. */
#include <string.h>

#include "host/common/device.h"
#include "host/common/vm_files.h"
#include "host/supervisor/machine.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/client/uuid.h"
#include "proto/clock.h"

const char *machine_state_name(const struct machine *machine)
{
	static const char *const names[] = {
		[MACHINE_STARTING] = "starting",
		[MACHINE_BOOTING] = "booting",
		[MACHINE_READY] = "ready",
		[MACHINE_STOPPING] = "stopping",
		[MACHINE_ENDED] = "ended",
	};

	if (machine->paused && machine->state <= MACHINE_READY)
		return "paused";
	if (machine->asleep && machine->state <= MACHINE_READY)
		return "asleep";
	return names[machine->state];
}

static void add_problem(json_t *list, enum problem problem, const char *tag)
{
	(void)json_array_append_new(list, problem_to_json(problem, tag));
}

static json_t *problems(const struct machine *machine)
{
	json_t *list = json_array();

	if (machine->channel_lost)
		add_problem(list, PROBLEM_CHANNEL_LOST, NULL);
	if (machine->silent)
		add_problem(list, PROBLEM_NO_AGENT, NULL);
	if (machine->vmm_silent)
		add_problem(list, PROBLEM_VMM_SILENT, NULL);
	if (machine->balloon.stuck)
		add_problem(list, PROBLEM_BALLOON_STUCK, NULL);
	for (size_t i = 0; i < VM_SHARES_MAX; i++) {
		const struct share *share = &machine->shares[i];

		if (share->dead)
			add_problem(list, share->stuck ? PROBLEM_SHARE_STUCK : PROBLEM_SHARE_DEAD,
				share->config.tag);
		else if (share->unmounted)
			add_problem(list, PROBLEM_SHARE_UNMOUNTED, share->config.tag);
	}
	return list;
}

static json_t *shares(const struct machine *machine)
{
	static const char *const states[] = {
		[SHARE_PLUGGING] = "plugging",
		[SHARE_PLUGGED] = "plugged",
		[SHARE_UNPLUGGING] = "unplugging",
	};
	json_t *list = json_array();

	for (size_t i = 0; i < VM_SHARES_MAX; i++) {
		const struct share *share = &machine->shares[i];
		json_t *object;

		if (share->state == SHARE_FREE)
			continue;
		object = share_config_to_json(&share->config);
		(void)json_object_set_new(
			object, "state", json_string(share->dead ? "dead" : states[share->state]));
		(void)json_array_append_new(list, object);
	}
	return list;
}

static pid_t pid_of(const struct process *process)
{
	return process_running(process) ? process->pid : 0;
}

/* Who serves the guest's vsock device. */
static const char *vsock_kind(const struct machine *machine)
{
	if (machine->driver->kind->own_vsock)
		return "vmm";
	return machine->config.vsock_kernel ? "kernel" : "user";
}

json_t *machine_status(const struct machine *machine)
{
	const struct vm_config *config = &machine->config;
	uint64_t uptime = (clock_ns(CLOCK_BOOTTIME) - machine->started) / NSEC_PER_MSEC;
	json_t *status = json_pack("{s:s, s:s, s:s, s:s, s:s*, s:i, s:I, s:I, s:I, s:I, s:i}",
		"name", config->name, "state", machine_state_name(machine), "accel",
		config->kvm ? "kvm" : "tcg", "vsock", vsock_kind(machine), "kernel", config->kernel,
		"cpus", (int)config->cpus, "cid", (json_int_t)config->cid, "memory_bytes",
		(json_int_t)config->memory_bytes, "uptime_ms", (json_int_t)uptime, "started",
		(json_int_t)machine->started_wall, "vmm_pid", (int)pid_of(&machine->vmm_process));

	if (!status)
		return NULL;
	(void)json_object_set_new(status, "driver", json_string(config->driver));
	if (config->plug_bytes > 0)
		(void)json_object_set_new(
			status, "plug_bytes", json_integer((json_int_t)config->plug_bytes));
	if (config->plug_bytes > 0 && machine->driver->kind->tells_memory)
		(void)json_object_set_new(
			status, "plugged_bytes", json_integer((json_int_t)machine->plugged_bytes));
	if (config->image)
		(void)json_object_set_new(status, "image", json_string(config->image));
	if (process_running(&machine->vsockd))
		(void)json_object_set_new(
			status, "vsockd_pid", json_integer(pid_of(&machine->vsockd)));
	if (machine->agent_version[0]) {
		char id[UUID_TEXT_SIZE];

		(void)json_object_set_new(
			status, "agent_version", json_string(machine->agent_version));
		(void)json_object_set_new(
			status, "boot_id", json_string(uuid_text(machine->boot_id, id)));
		(void)json_object_set_new(status, "ready_after_ms",
			json_integer((json_int_t)machine->ready_after_ms));
	}
	(void)json_object_set_new(status, "devices", devices_to_json(config->devices));
	(void)json_object_set_new(status, "devices_off", devices_to_json(~config->devices));
	(void)json_object_set_new(
		status, "console_readers", json_integer((json_int_t)machine->console.n_readers));
	(void)json_object_set_new(status, "shares", shares(machine));
	(void)json_object_set_new(status, "disks", disks_status(machine));
	(void)json_object_set_new(status, "problems", problems(machine));
	return status;
}
