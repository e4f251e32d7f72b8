/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cloud Hypervisor, through its HTTP interface as cloud-hypervisor.yaml describes it, and its
 * stream of events (docs/event-monitor.md there).
 */
#include "host/vmm/cloud_hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/common/unix_socket.h"
#include "host/common/vm_files.h"
#include "proto/cleanup.h"

static json_t *restore_source(const struct vmm *vmm)
{
	return json_pack(
		"{s:o}", "source_url", http_vmm_path("file://", vmm->setup.dir, VM_FILE_RESTORE));
}

static const struct start_step boot_steps[] = {
	{"GET", "/vmm.ping", NULL, NULL, 0},
	{"PUT", "/vm.create", cloud_hypervisor_config, NULL, 0},
	{"PUT", "/vm.boot", NULL, NULL, 0},
	{0},
};

/* A restored guest is paused, as it was when it was saved. */
static const struct start_step restore_steps[] = {
	{"GET", "/vmm.ping", NULL, NULL, 0},
	{"PUT", "/vm.restore", restore_source, NULL, API_SNAPSHOT_MS},
	{"PUT", "/vm.resume", NULL, NULL, 0},
	{0},
};

static bool is_event(const json_t *event, const char *source, const char *name)
{
	return strcmp(json_field_string(event, "source", ""), source) == 0 &&
	       strcmp(json_field_string(event, "event", ""), name) == 0;
}

static void on_event(void *ctx, const json_t *event)
{
	struct vmm *vmm = ctx;

	if (is_event(event, "vm", "rebooting"))
		vmm->setup.on_event(vmm->setup.ctx, VMM_RESET, "");
	else if (is_event(event, "guest", "panic"))
		vmm->setup.on_event(vmm->setup.ctx, VMM_PANICKED, "");
	else if (is_event(event, "vm", "restored"))
		cloud_hypervisor_forget_restore(vmm);
	else if (is_event(event, "vm", "device-removed"))
		cloud_hypervisor_device_removed(
			vmm, json_field_string(json_object_get(event, "properties"), "id", ""));
}

static void on_broken(void *ctx)
{
	struct vmm *vmm = ctx;

	vmm->setup.on_event(
		vmm->setup.ctx, VMM_LOST, "Cloud Hypervisor's events are not what they should be");
}

/* Its descriptors: events go out by one, requests come in by the other. That one listens already:
 * what is asked before the VMM is there waits for it. */
static int make_channels(
	const struct vmm_setup *setup, struct vmm_process *process, int *ret_events)
{
	AUTO_CLOSE int in = -EBADF, out = -EBADF, api = -EBADF;
	char path[PATH_MAX];
	int pair[2], events, listener;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	in = pair[0];
	out = pair[1];
	(void)snprintf(path, sizeof(path), "%.4000s/" VM_FILE_API, setup->dir);
	api = unix_listen(path, 8);
	if (api < 0)
		return api;
	/* As one that it would have made itself. */
	(void)fcntl(api, F_SETFL, 0);
	events = vmm_process_add(process, out);
	listener = vmm_process_add(process, api);
	argv_add(&process->argv, "%s", setup->config->vmm);
	argv_add(&process->argv, "--api-socket");
	argv_add(&process->argv, "fd=%d", listener);
	argv_add(&process->argv, "--event-monitor");
	argv_add(&process->argv, "fd=%d", events);
	if (events < 0 || listener < 0 || process->argv.failed)
		return -ENOMEM;
	*ret_events = take_fd(&in);
	return 0;
}

static int do_open(const struct vmm_setup *setup, struct vmm **ret_vmm,
	struct vmm_process *ret_process, struct postern_error *error)
{
	int events = -EBADF, r;
	struct vmm *vmm;

	r = http_vmm_new(setup, "/api/v1", &vmm, error);
	if (r < 0)
		return r;
	r = make_channels(setup, ret_process, &events);
	if (r == 0) {
		vmm->events.on_event = on_event;
		vmm->events.on_broken = on_broken;
		vmm->events.ctx = vmm;
		r = event_stream_open(&vmm->events, setup->loop, events);
	}
	if (r < 0)
		(void)fail_errno(error, POSTERN_ANSWERED, -r, "Cloud Hypervisor");
	else if (setup->config->restore)
		r = cloud_hypervisor_prepare_restore(vmm, error);
	if (r < 0) {
		http_vmm_free(vmm);
		return r;
	}
	http_vmm_start(vmm, setup->config->restore ? restore_steps : boot_steps);
	*ret_vmm = vmm;
	return 0;
}

static void do_close(struct vmm *vmm)
{
	if (vmm && vmm->setup.config->restore)
		cloud_hypervisor_forget_restore(vmm);
	http_vmm_free(vmm);
}

static void powerdown(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	http_vmm_tell(vmm, "/vm.power-button", fn, ctx);
}

static void quit(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	http_vmm_tell(vmm, "/vmm.shutdown", fn, ctx);
}

static void do_pause(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	http_vmm_tell(vmm, "/vm.pause", fn, ctx);
}

static void resume(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	http_vmm_tell(vmm, "/vm.resume", fn, ctx);
}

static void snapshot(struct vmm *vmm, const char *dir, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(vmm, "PUT", "/vm.snapshot",
		json_pack("{s:o}", "destination_url", json_sprintf("file://%s", dir)),
		API_SNAPSHOT_MS, fn, ctx);
}

static void balloon(struct vmm *vmm, uint64_t pages, vmm_done_fn fn, void *ctx)
{
	http_vmm_send(vmm, "PUT", "/vm.resize",
		json_pack("{s:I}", "desired_balloon", (json_int_t)pages * BALLOON_PAGE),
		API_CALL_MS, fn, ctx);
}

/* Which it counts as memory of the guest's from the moment on that it was asked for. */
static uint64_t plugged_of(const json_t *memory)
{
	json_int_t plugged = json_field_int(memory, "hotplugged_size", 0);

	return plugged < 0 ? 0 : (uint64_t)plugged;
}

/* It has no statistics of the guest's, but knows what the balloon has taken. */
static void on_info(void *ctx, const struct postern_error *error, const json_t *info)
{
	struct vmm *vmm = ctx;
	const json_t *config = json_object_get(info, "config");
	const json_t *memory = json_object_get(config, "memory");
	uint64_t all = vmm->setup.config->memory_bytes + plugged_of(memory);
	json_int_t left = json_field_int(info, "memory_actual_size", -1);
	json_int_t asked = json_field_int(json_object_get(config, "balloon"), "size", -1);
	struct balloon_stats *values = &vmm->stats_values;

	for (int i = 0; i < BALLOON_STATS; i++)
		values->values[i] = BALLOON_UNKNOWN;
	values->current_pages = left < 0 ? BALLOON_UNKNOWN : balloon_pages(all, (uint64_t)left);
	values->requested_pages = asked < 0 ? BALLOON_UNKNOWN : (uint64_t)asked / BALLOON_PAGE;
	stats_tell(&vmm->stats, error, values);
}

static void balloon_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	if (stats_wait(&vmm->stats, fn, ctx))
		http_vmm_get(vmm, "/vm.info", on_info, vmm);
}

static void plug_memory(struct vmm *vmm, uint64_t bytes, vmm_done_fn fn, void *ctx)
{
	uint64_t all = vmm->setup.config->memory_bytes + bytes;

	http_vmm_send(vmm, "PUT", "/vm.resize", json_pack("{s:I}", "desired_ram", (json_int_t)all),
		API_CALL_MS, fn, ctx);
}

/* What it was asked for is all that it tells. */
static void on_memory(void *ctx, const struct postern_error *error, const json_t *info)
{
	static const char *const names[MEMORY_STATS] = {
		NULL, "hotplug_size", NULL, NULL, "hotplugged_size"};
	struct vmm *vmm = ctx;
	struct memory_stats stats;

	memory_read_stats(
		json_object_get(json_object_get(info, "config"), "memory"), names, 1, &stats);
	if (stats.requested_size == MEMORY_UNKNOWN)
		stats.requested_size = 0; /* nobody has asked yet */
	stats_tell(&vmm->memory, error, &stats);
}

static void memory_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	if (stats_wait(&vmm->memory, fn, ctx))
		http_vmm_get(vmm, "/vm.info", on_memory, vmm);
}

const struct vmm_driver cloud_hypervisor_driver = {
	.kind = &vmm_kinds[VMM_CLOUD_HYPERVISOR],
	.open = do_open,
	.close = do_close,
	.powerdown = powerdown,
	.quit = quit,
	.pause = do_pause,
	.resume = resume,
	.snapshot = snapshot,
	.balloon = balloon,
	.balloon_stats = balloon_stats,
	.plug_memory = plug_memory,
	.memory_stats = memory_stats,
	.plug = cloud_hypervisor_plug,
	.unplug = cloud_hypervisor_unplug,
	.resize_disk = cloud_hypervisor_resize_disk,
};
