/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plugging a vhost-user file system device into a running QEMU, and pulling it:
 *
 *   plug     chardev-add, device_add; if that fails chardev-remove
 *   unplug   device_del, the event DEVICE_DELETED once the guest let go, chardev-remove
 *
 * A plug that QEMU does not answer in time has failed, and may be done later: what undoes it is
 * sent behind it, and waited for by nobody.
 */
#include <errno.h>
#include <stdio.h>
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

static json_t *named(const char *key, const char *prefix, unsigned index)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%s%u", prefix, index);
	return json_pack("{s:s}", key, name);
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
	(void)qemu_call(slot->vmm, "device_del", named("id", "share", slot->index), NULL, NULL);
	(void)qemu_call(
		slot->vmm, "chardev-remove", named("id", "sharechar", slot->index), NULL, NULL);
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
	next(slot, "chardev-remove", named("id", "sharechar", slot->index), on_undone);
}

static void on_chardev(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct slot *slot = ctx;
	char id[32], bus[32], chardev[32];

	(void)result;
	if (error) {
		if (error->failure == POSTERN_TIMED_OUT)
			undo_late(slot);
		finish(slot, error);
		return;
	}
	(void)snprintf(id, sizeof(id), "share%u", slot->index);
	(void)snprintf(bus, sizeof(bus), "port%u", slot->index);
	(void)snprintf(chardev, sizeof(chardev), "sharechar%u", slot->index);
	next(slot, "device_add",
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "driver", "vhost-user-fs-pci", "id", id,
			"bus", bus, "chardev", chardev, "tag", slot->tag, "queue-size",
			QEMU_SHARE_QUEUE),
		on_device);
}

void qemu_share_plug(struct vmm *vmm, unsigned slot, const char *tag, const char *socket_path,
	vmm_done_fn fn, void *ctx)
{
	json_t *address, *arguments;
	char id[32];

	if (start(vmm, slot, SLOT_PLUGGING, fn, ctx) < 0)
		return;
	(void)snprintf(vmm->slots[slot].tag, sizeof(vmm->slots[slot].tag), "%s", tag);
	(void)snprintf(id, sizeof(id), "sharechar%u", slot);
	address = json_pack("{s:s, s:{s:s}}", "type", "unix", "data", "path", socket_path);
	arguments = json_pack("{s:s, s:{s:s, s:{s:o, s:b}}}", "id", id, "backend", "type", "socket",
		"data", "addr", address, "server", 0);
	next(&vmm->slots[slot], "chardev-add", arguments, on_chardev);
}

static void on_chardev_removed(void *ctx, const struct postern_error *error, const json_t *result)
{
	(void)result;
	/* An earlier request that was answered too late has removed it. */
	finish(ctx, error && strstr(error->message, "not found") ? NULL : error);
}

static void device_gone(struct slot *slot)
{
	loop_timer_del(&slot->timer);
	next(slot, "chardev-remove", named("id", "sharechar", slot->index), on_chardev_removed);
}

void qemu_share_deleted(struct vmm *vmm, const char *device)
{
	char id[32];

	for (unsigned i = 0; i < VM_SHARES_MAX; i++) {
		(void)snprintf(id, sizeof(id), "share%u", i);
		if (strcmp(device, id) != 0)
			continue;
		if (vmm->slots[i].state == SLOT_UNPLUGGING)
			device_gone(&vmm->slots[i]);
		else if (vmm->slots[i].undoing)
			(void)qemu_call(
				vmm, "chardev-remove", named("id", "sharechar", i), NULL, NULL);
	}
}

static void on_unplug_late(struct loop_timer *timer)
{
	struct slot *slot = container_of(timer, struct slot, timer);
	struct postern_error error = {0};

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT,
		"the guest did not let the device go; is the share still mounted there?");
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

void qemu_share_unplug(struct vmm *vmm, unsigned slot, vmm_done_fn fn, void *ctx)
{
	if (start(vmm, slot, SLOT_UNPLUGGING, fn, ctx) < 0)
		return;
	vmm->slots[slot].timer.fn = on_unplug_late;
	loop_timer_set(vmm->loop, &vmm->slots[slot].timer,
		monotonic_ns() + QEMU_UNPLUG_MS * NSEC_PER_MSEC);
	next(&vmm->slots[slot], "device_del", named("id", "share", slot), on_delete_asked);
}

void qemu_shares_forget(struct vmm *vmm)
{
	for (unsigned i = 0; i < VM_SHARES_MAX; i++)
		loop_timer_del(&vmm->slots[i].timer);
}
