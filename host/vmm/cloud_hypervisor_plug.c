/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plugging a device into a running Cloud Hypervisor, and pulling it:
 *
 *   plug     vm.add-fs or vm.add-disk
 *   unplug   vm.remove-device, the event "device-removed" once the guest let go
 *
 * A plug that is not answered in time has failed, and may be done later: what undoes it is sent
 * behind it, and waited for by nobody.
 */
#include <errno.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/vmm/cloud_hypervisor.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define UNPLUG_MS 15000 /* for the guest to let a device go */

static void finish(struct slot *slot, const struct postern_error *error)
{
	slot->state = SLOT_IDLE;
	loop_timer_del(&slot->timer);
	slot->fn(slot->ctx, error);
}

static bool begin(struct slot *slot, enum slot_state state, vmm_done_fn fn, void *ctx)
{
	struct postern_error error = {0};

	if (slot->state != SLOT_IDLE) {
		(void)fail(&error, POSTERN_ANSWERED, EBUSY,
			"the slot is just being plugged or unplugged");
		fn(ctx, &error);
		return false;
	}
	slot->state = state;
	slot->fn = fn;
	slot->ctx = ctx;
	return true;
}

static void remove_device(struct slot *slot, vmm_done_fn fn)
{
	char id[16];

	http_vmm_send(slot->vmm, "PUT", "/vm.remove-device",
		json_pack("{s:s}", "id", vmm_slot_name(slot->index, id)), API_CALL_MS, fn, slot);
}

static void on_undone(void *ctx, const struct postern_error *error)
{
	(void)ctx;
	(void)error;
}

static void on_plugged(void *ctx, const struct postern_error *error)
{
	struct slot *slot = ctx;

	if (error && error->failure == POSTERN_TIMED_OUT)
		remove_device(slot, on_undone);
	finish(slot, error);
}

void cloud_hypervisor_plug(
	struct vmm *vmm, unsigned index, const struct vmm_device *device, vmm_done_fn fn, void *ctx)
{
	struct slot *slot = &vmm->slots[index];

	if (!begin(slot, SLOT_PLUGGING, fn, ctx))
		return;
	slot->gone = false;
	if (device->disk)
		http_vmm_send(vmm, "PUT", "/vm.add-disk",
			cloud_hypervisor_disk(
				index, device->disk, device->disk_read_only, device->disk_qcow2),
			API_CALL_MS, on_plugged, slot);
	else
		http_vmm_send(vmm, "PUT", "/vm.add-fs",
			cloud_hypervisor_share(index, device->tag, json_string(device->socket)),
			API_CALL_MS, on_plugged, slot);
}

void cloud_hypervisor_device_removed(struct vmm *vmm, const char *device)
{
	char id[16];

	for (unsigned i = 0; i < VMM_SLOTS; i++) {
		struct slot *slot = &vmm->slots[i];

		if (strcmp(device, vmm_slot_name(i, id)) != 0)
			continue;
		if (slot->state == SLOT_UNPLUGGING)
			finish(slot, NULL);
		else if (slot->state == SLOT_IDLE)
			slot->gone = true; /* the guest followed after its deadline */
	}
}

static void on_late(struct loop_timer *timer)
{
	struct postern_error error = {0};

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT,
		"the guest did not let the device go; is it still mounted there?");
	finish(container_of(timer, struct slot, timer), &error);
}

static void on_remove_asked(void *ctx, const struct postern_error *error)
{
	struct slot *slot = ctx;

	/* The event may be faster than the answer. */
	if (slot->state != SLOT_UNPLUGGING || !error)
		return;
	finish(slot, error->sys_errno == ENOENT ? NULL : error);
}

void cloud_hypervisor_unplug(struct vmm *vmm, unsigned index, vmm_done_fn fn, void *ctx)
{
	struct slot *slot = &vmm->slots[index];

	if (!begin(slot, SLOT_UNPLUGGING, fn, ctx))
		return;
	if (slot->gone) {
		finish(slot, NULL);
		return;
	}
	slot->timer.fn = on_late;
	loop_timer_set(vmm->setup.loop, &slot->timer, monotonic_ns() + UNPLUG_MS * NSEC_PER_MSEC);
	remove_device(slot, on_remove_asked);
}

void cloud_hypervisor_resize_disk(
	struct vmm *vmm, unsigned index, uint64_t bytes, vmm_done_fn fn, void *ctx)
{
	char id[16];

	http_vmm_send(vmm, "PUT", "/vm.resize-disk",
		json_pack("{s:s, s:I}", "id", vmm_slot_name(index, id), "desired_size",
			(json_int_t)bytes),
		API_CALL_MS, fn, ctx);
}
