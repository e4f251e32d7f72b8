/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firecracker, through its HTTP interface as firecracker.yaml describes it. Its process ends with
 * the guest, and says nothing by itself.
 */
#include "host/vmm/firecracker.h"

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/common/vm_files.h"
#include "host/vmm/http_vmm.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define MIB   (1U << 20)
#define PAGES (MIB / BALLOON_PAGE) /* in one of the balloon's steps */

/* It exits when the guest resets itself, and has no power button that Linux knows: both are what
 * these two words are about (docs/getting-started.md there). */
#define CMDLINE " reboot=k pci=off"

/* Statistics must be switched on before the start, and then have an interval. An idle guest is
 * asked each hour; somebody who asks has it set to a second, which asks at once. */
#define STATS_IDLE_S 3600
#define STATS_WAIT   300 /* ms, for the guest's driver */

static json_t *machine_config(const struct vmm *vmm)
{
	const struct vm_config *config = vmm->setup.config;

	return json_pack("{s:i, s:I}", "vcpu_count", (int)config->cpus, "mem_size_mib",
		(json_int_t)(config->memory_bytes / MIB));
}

static json_t *boot_source(const struct vmm *vmm)
{
	const struct vm_config *config = vmm->setup.config;

	return json_pack("{s:s, s:o, s:s*}", "kernel_image_path", config->kernel, "boot_args",
		json_sprintf("%s" CMDLINE, config->cmdline ? config->cmdline : ""), "initrd_path",
		config->initrd);
}

static bool has_image(const struct vmm *vmm)
{
	return vmm->setup.config->image != NULL;
}

static json_t *drive(const struct vmm *vmm)
{
	const struct vm_config *config = vmm->setup.config;

	return json_pack("{s:s, s:s, s:b, s:b}", "drive_id", "disk0", "path_on_host", config->image,
		"is_root_device", 0, "is_read_only", config->image_read_only);
}

static json_t *balloon_device(const struct vmm *vmm)
{
	(void)vmm;
	return json_pack("{s:i, s:b, s:i}", "amount_mib", 0, "deflate_on_oom", 1,
		"stats_polling_interval_s", STATS_IDLE_S);
}

static json_t *entropy(const struct vmm *vmm)
{
	(void)vmm;
	return json_object();
}

static json_t *vsock(const struct vmm *vmm)
{
	return json_pack("{s:I, s:o}", "guest_cid", (json_int_t)vmm->setup.config->cid, "uds_path",
		http_vmm_path("", vmm->setup.dir, VM_FILE_VSOCK));
}

static bool has_plug(const struct vmm *vmm)
{
	return vmm->setup.config->plug_bytes > 0;
}

static json_t *plug_device(const struct vmm *vmm)
{
	const struct vm_config *config = vmm->setup.config;

	return json_pack("{s:I, s:I}", "total_size_mib", (json_int_t)(config->plug_bytes / MIB),
		"block_size_mib", (json_int_t)(config->plug_block_bytes / MIB));
}

static json_t *start(const struct vmm *vmm)
{
	(void)vmm;
	return json_pack("{s:s}", "action_type", "InstanceStart");
}

/* The socket's path is the new VM's; all else is as it was. */
static json_t *load(const struct vmm *vmm)
{
	const char *dir = vmm->setup.config->restore;

	return json_pack("{s:o, s:{s:s, s:o}, s:b, s:{s:o}}", "snapshot_path",
		http_vmm_path("", dir, FIRECRACKER_STATE), "mem_backend", "backend_type", "File",
		"backend_path", http_vmm_path("", dir, FIRECRACKER_MEMORY), "resume_vm", 1,
		"vsock_override", "uds_path", http_vmm_path("", vmm->setup.dir, VM_FILE_VSOCK));
}

static const struct start_step boot_steps[] = {
	{"GET", "/version", NULL, NULL, 0},
	{"PUT", "/machine-config", machine_config, NULL, 0},
	{"PUT", "/boot-source", boot_source, NULL, 0},
	{"PUT", "/drives/disk0", drive, has_image, 0},
	{"PUT", "/balloon", balloon_device, NULL, 0},
	{"PUT", "/entropy", entropy, NULL, 0},
	{"PUT", "/vsock", vsock, NULL, 0},
	{"PUT", "/hotplug/memory", plug_device, has_plug, 0},
	{"PUT", "/actions", start, NULL, 0},
	{0},
};

static const struct start_step restore_steps[] = {
	{"GET", "/version", NULL, NULL, 0},
	{"PUT", "/snapshot/load", load, NULL, API_SNAPSHOT_MS},
	{0},
};

static int do_open(const struct vmm_setup *setup, struct vmm **ret_vmm,
	struct vmm_process *ret_process, struct postern_error *error)
{
	struct argv *argv = &ret_process->argv;
	int r;

	argv_add(argv, "%s", setup->config->vmm);
	argv_add(argv, "--api-sock");
	argv_add(argv, "%s/" VM_FILE_API, setup->dir);
	/* Its standard output is the guest's console; the log would go there, too. */
	argv_add(argv, "--log-path");
	argv_add(argv, "/proc/self/fd/2");
	argv_add(argv, "--level");
	argv_add(argv, "Warning");
	if (argv->failed)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "Firecracker");
	r = http_vmm_new(setup, "", ret_vmm, error);
	if (r == 0)
		http_vmm_start(*ret_vmm, setup->config->restore ? restore_steps : boot_steps);
	return r;
}

static void powerdown(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(vmm, "PUT", "/actions", json_pack("{s:s}", "action_type", "SendCtrlAltDel"),
		API_CALL_MS, fn, ctx);
}

static void set_state(struct vmm *vmm, const char *state, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(
		vmm, "PATCH", "/vm", json_pack("{s:s}", "state", state), API_CALL_MS, fn, ctx);
}

static void do_pause(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	set_state(vmm, "Paused", fn, ctx);
}

static void resume(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	set_state(vmm, "Resumed", fn, ctx);
}

static void snapshot(struct vmm *vmm, const char *dir, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(vmm, "PUT", "/snapshot/create",
		json_pack("{s:s, s:o, s:o}", "snapshot_type", "Full", "snapshot_path",
			http_vmm_path("", dir, FIRECRACKER_STATE), "mem_file_path",
			http_vmm_path("", dir, FIRECRACKER_MEMORY)),
		API_SNAPSHOT_MS, fn, ctx);
}

static void balloon(struct vmm *vmm, uint64_t pages, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(vmm, "PATCH", "/balloon",
		json_pack("{s:I}", "amount_mib", (json_int_t)(pages / PAGES)), API_CALL_MS, fn,
		ctx);
}

/* ---- Balloon statistics ---- */

static void set_interval(struct vmm *vmm, int seconds, vmm_done_fn fn)
{
	http_vmm_send(vmm, "PATCH", "/balloon/statistics",
		json_pack("{s:i}", "stats_polling_interval_s", seconds), API_CALL_MS, fn, vmm);
}

static void on_idle(void *ctx, const struct postern_error *error)
{
	(void)ctx;
	(void)error; /* asked once a second, the guest lives as well */
}

static uint64_t pages_of(const json_t *stats, const char *name)
{
	json_int_t pages = json_field_int(stats, name, 0);

	return pages < 0 ? 0 : (uint64_t)pages;
}

static void on_stats(void *ctx, const struct postern_error *error, const json_t *stats)
{
	struct vmm *vmm = ctx;
	const struct vm_config *config = vmm->setup.config;

	if (!error) {
		vmm->stats_values.current_pages = pages_of(stats, "actual_pages");
		vmm->stats_values.requested_pages = pages_of(stats, "target_pages");
		balloon_read_stats(stats, BALLOON_FIRECRACKER,
			config->memory_bytes + config->plug_bytes, &vmm->stats_values);
	}
	set_interval(vmm, STATS_IDLE_S, on_idle);
	stats_tell(&vmm->stats, error, &vmm->stats_values);
}

static void on_look(struct loop_timer *timer)
{
	struct vmm *vmm = container_of(timer, struct vmm, stats_timer);

	http_vmm_get(vmm, "/balloon/statistics", on_stats, vmm);
}

static void on_asked(void *ctx, const struct postern_error *error)
{
	struct vmm *vmm = ctx;

	if (error) {
		stats_tell(&vmm->stats, error, NULL);
		return;
	}
	vmm->stats_timer.fn = on_look;
	loop_timer_set(
		vmm->setup.loop, &vmm->stats_timer, monotonic_ns() + STATS_WAIT * NSEC_PER_MSEC);
}

static void balloon_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	if (stats_wait(&vmm->stats, fn, ctx))
		set_interval(vmm, 1, on_asked);
}

/* ---- Memory that is plugged ---- */

static void plug_memory(struct vmm *vmm, uint64_t bytes, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(vmm, "PATCH", "/hotplug/memory",
		json_pack("{s:I}", "requested_size_mib", (json_int_t)(bytes / MIB)), API_CALL_MS,
		fn, ctx);
}

static void on_memory(void *ctx, const struct postern_error *error, const json_t *status)
{
	/* It has no word for what the guest may use just now. */
	static const char *const names[MEMORY_STATS] = {
		"block_size_mib", "total_size_mib", NULL, "plugged_size_mib", "requested_size_mib"};
	struct vmm *vmm = ctx;
	struct memory_stats stats;

	memory_read_stats(status, names, MIB, &stats);
	stats_tell(&vmm->memory, error, &stats);
}

static void memory_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	if (stats_wait(&vmm->memory, fn, ctx))
		http_vmm_get(vmm, "/hotplug/memory", on_memory, vmm);
}

const struct vmm_driver firecracker_driver = {
	.kind = &vmm_kinds[VMM_FIRECRACKER],
	.open = do_open,
	.close = http_vmm_free,
	.powerdown = powerdown,
	.pause = do_pause,
	.resume = resume,
	.snapshot = snapshot,
	.balloon = balloon,
	.balloon_stats = balloon_stats,
	.plug_memory = plug_memory,
	.memory_stats = memory_stats,
};
