/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plugging a device into a running QEMU, and pulling it: a share's, whose back-end is a chardev, or
 * a disk, whose back-end is a block node.
 *
 *   plug     chardev-add, device_add; if that fails chardev-remove
 *   unplug   device_del, the event DEVICE_DELETED once the guest let go, chardev-remove
 *
 * A plug that QEMU does not answer in time has failed, and may be done later: what undoes it is
 * sent behind it, and waited for by nobody.
 */
#include <errno.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/vmm/qemu_vmm.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

static void finish(struct slot *slot, const struct postern_error *error)
{
	if (slot->state == SLOT_IDLE)
		return; /* the end of the connection fails every open command of an operation */
	slot->state = SLOT_IDLE;
	loop_timer_del(&slot->timer);
	slot->fn(slot->ctx, error);
}

/* Starts the operation's next command, or ends the operation where it cannot be sent. */
static void next(struct slot *slot, const char *command, json_t *arguments, qmp_reply_fn fn)
{
	struct postern_error error = {0};
	int r = qemu_call(slot->vmm, command, arguments, fn, slot);

	if (r == 0)
		return;
	(void)qemu_fail(&error, r, command);
	finish(slot, &error);
}

static const struct {
	const char *add, *remove, *key;
} backends[] = {
	{"chardev-add", "chardev-remove", "id"},
	{"blockdev-add", "blockdev-del", "node-name"},
};

static bool is_disk(const struct slot *slot)
{
	return slot->index >= VM_SHARES_MAX;
}

/* "share0-backend" */
static json_t *backend_name(unsigned index)
{
	char name[16];

	return json_sprintf("%s-backend", vmm_slot_name(index, name));
}

static json_t *device_id(const struct slot *slot)
{
	char name[16];

	return json_pack("{s:s}", "id", vmm_slot_name(slot->index, name));
}

static const char *remove_command(const struct slot *slot)
{
	return backends[is_disk(slot)].remove;
}

static json_t *backend_id(const struct slot *slot)
{
	return json_pack("{s:o}", backends[is_disk(slot)].key, backend_name(slot->index));
}

static int start(struct vmm *vmm, unsigned index, enum slot_state state, vmm_done_fn fn, void *ctx)
{
	struct postern_error error = {0};
	struct slot *slot = &vmm->slots[index];

	if (slot->state != SLOT_IDLE) {
		int r = fail(&error, POSTERN_ANSWERED, EBUSY,
			"the slot is just being plugged or unplugged");

		fn(ctx, &error);
		return r;
	}
	slot->vmm = vmm;
	slot->index = index;
	slot->state = state;
	slot->fn = fn;
	slot->ctx = ctx;
	return 0;
}

/* Commands that fail where there is nothing to undo. */
static void undo_late(struct slot *slot)
{
	slot->undoing = true;
	(void)qemu_call(slot->vmm, "device_del", device_id(slot), NULL, NULL);
	(void)qemu_call(slot->vmm, remove_command(slot), backend_id(slot), NULL, NULL);
}

static void on_undone(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct slot *slot = ctx;
	struct postern_error first = slot->error;

	(void)error;
	(void)result;
	finish(slot, &first);
}

static void on_device(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct slot *slot = ctx;

	(void)result;
	if (!error) {
		finish(slot, NULL);
		return;
	}
	if (error->failure == POSTERN_TIMED_OUT) {
		undo_late(slot);
		finish(slot, error);
		return;
	}
	slot->error = *error;
	slot->error.packed = NULL;
	next(slot, remove_command(slot), backend_id(slot), on_undone);
}

static void on_backend(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct slot *slot = ctx;

	(void)result;
	if (!error) {
		next(slot, "device_add", take_ptr(slot->device), on_device);
		return;
	}
	json_decref(take_ptr(slot->device));
	if (error->failure == POSTERN_TIMED_OUT)
		undo_late(slot);
	finish(slot, error);
}

static json_t *share_backend(const struct slot *slot, const struct vmm_device *device)
{
	return json_pack("{s:o, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b}}}", "id",
		backend_name(slot->index), "backend", "type", "socket", "data", "addr", "type",
		"unix", "data", "path", device->socket, "server", 0);
}

static json_t *disk_backend(const struct slot *slot, const struct vmm_device *device)
{
	return json_pack("{s:o, s:s, s:b, s:s, s:{s:s, s:s}}", "node-name",
		backend_name(slot->index), "driver", device->disk_qcow2 ? "qcow2" : "raw",
		"read-only", device->disk_read_only, "discard", "unmap", "file", "driver", "file",
		"filename", device->disk);
}

static json_t *share_device(const struct slot *slot, const char *id, const char *tag)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:i}", "driver", "vhost-user-fs-pci", "id", id,
		"bus", json_sprintf("port%u", slot->index), "chardev", backend_name(slot->index),
		"tag", tag, "queue-size", QEMU_SHARE_QUEUE);
}

static json_t *disk_device(const struct slot *slot, const char *id)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s}", "driver", "virtio-blk-pci", "id", id, "bus",
		json_sprintf("port%u", slot->index), "drive", backend_name(slot->index), "serial",
		id);
}

void qemu_plug(
	struct vmm *vmm, unsigned index, const struct vmm_device *device, vmm_done_fn fn, void *ctx)
{
	struct slot *slot = &vmm->slots[index];
	char id[16];

	if (start(vmm, index, SLOT_PLUGGING, fn, ctx) < 0)
		return;
	(void)vmm_slot_name(index, id);
	slot->device = is_disk(slot) ? disk_device(slot, id) : share_device(slot, id, device->tag);
	next(slot, backends[is_disk(slot)].add,
		is_disk(slot) ? disk_backend(slot, device) : share_backend(slot, device),
		on_backend);
}

static void on_backend_removed(void *ctx, const struct postern_error *error, const json_t *result)
{
	(void)result;
	/* An earlier request that was answered too late has removed it. */
	finish(ctx, error && (strstr(error->message, "not found") ||
				     strstr(error->message, "Failed to find"))
			    ? NULL
			    : error);
}

static void device_gone(struct slot *slot)
{
	loop_timer_del(&slot->timer);
	next(slot, remove_command(slot), backend_id(slot), on_backend_removed);
}

void qemu_device_deleted(struct vmm *vmm, const char *device)
{
	char id[16];

	for (unsigned i = 0; i < VMM_SLOTS; i++) {
		struct slot *slot = &vmm->slots[i];

		if (strcmp(device, vmm_slot_name(i, id)) != 0)
			continue;
		if (slot->state == SLOT_UNPLUGGING)
			device_gone(slot);
		else if (slot->undoing)
			(void)qemu_call(vmm, remove_command(slot), backend_id(slot), NULL, NULL);
	}
}

static void on_unplug_late(struct loop_timer *timer)
{
	struct slot *slot = container_of(timer, struct slot, timer);
	struct postern_error error = {0};

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT,
		"the guest did not let the device go; is it still mounted there?");
	finish(slot, &error);
}

static void on_delete_asked(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct slot *slot = ctx;

	(void)result;
	if (!error || strstr(error->message, "in the process of unplug"))
		return; /* an earlier request that the guest has not followed yet is this one's too
			 */
	if (strstr(error->message, "not found"))
		/* The guest followed an earlier request after its deadline. */
		device_gone(slot);
	else
		finish(slot, error);
}

void qemu_unplug(struct vmm *vmm, unsigned index, vmm_done_fn fn, void *ctx)
{
	struct slot *slot = &vmm->slots[index];

	if (start(vmm, index, SLOT_UNPLUGGING, fn, ctx) < 0)
		return;
	slot->timer.fn = on_unplug_late;
	loop_timer_set(vmm->loop, &slot->timer, monotonic_ns() + QEMU_UNPLUG_MS * NSEC_PER_MSEC);
	next(slot, "device_del", device_id(slot), on_delete_asked);
}

void qemu_resize_disk(struct vmm *vmm, unsigned index, uint64_t bytes, vmm_done_fn fn, void *ctx)
{
	json_t *arguments = json_pack(
		"{s:o, s:I}", "node-name", backend_name(index), "size", (json_int_t)bytes);

	qemu_simple(vmm, "block_resize", arguments, fn, ctx);
}

void qemu_slots_forget(struct vmm *vmm)
{
	for (unsigned i = 0; i < VMM_SLOTS; i++) {
		loop_timer_del(&vmm->slots[i].timer);
		json_decref(take_ptr(vmm->slots[i].device));
	}
}
