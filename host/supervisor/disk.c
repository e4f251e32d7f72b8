/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks that are plugged and pulled while the guest runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"

#define DISK_UNIT 512 /* bytes: virtio 1.2, 5.2 counts in these */

static json_t *to_json(const struct disk *disk)
{
	static const char *const states[] = {
		[SHARE_PLUGGING] = "plugging",
		[SHARE_PLUGGED] = "plugged",
		[SHARE_UNPLUGGING] = "unplugging",
	};
	char id[16];

	return json_pack("{s:s, s:s, s:b, s:s}", "id", vmm_slot_name(disk->slot, id), "path",
		disk->path, "read_only", disk->read_only, "state", states[disk->state]);
}

json_t *disks_status(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; i < VM_DISKS_MAX; i++)
		if (machine->disks[i].state != SHARE_FREE)
			(void)json_array_append_new(list, to_json(&machine->disks[i]));
	return list;
}

void disks_init(struct machine *machine)
{
	for (unsigned i = 0; i < VM_DISKS_MAX; i++) {
		machine->disks[i].machine = machine;
		machine->disks[i].slot = VM_SHARES_MAX + i;
	}
}

bool disks_any(const struct machine *machine)
{
	for (size_t i = 0; i < VM_DISKS_MAX; i++)
		if (machine->disks[i].state != SHARE_FREE)
			return true;
	return false;
}

static void forget(struct disk *disk)
{
	free(disk->path);
	disk->path = NULL;
	disk->state = SHARE_FREE;
}

void disks_end(struct machine *machine, const struct postern_error *error)
{
	for (size_t i = 0; i < VM_DISKS_MAX; i++) {
		if (machine->disks[i].request)
			request_fail(machine->disks[i].request, error, NULL);
		machine->disks[i].request = NULL;
		forget(&machine->disks[i]);
	}
}

static void on_plugged(void *ctx, const struct postern_error *error)
{
	struct disk *disk = ctx;
	struct request *request = take_ptr(disk->request);

	if (error) {
		forget(disk);
		request_fail(request, error, NULL);
		return;
	}
	disk->state = SHARE_PLUGGED;
	request_return(request, to_json(disk));
}

static struct disk *find_free(struct machine *machine)
{
	for (size_t i = 0; i < VM_DISKS_MAX; i++)
		if (machine->disks[i].state == SHARE_FREE)
			return &machine->disks[i];
	return NULL;
}

/* The slot that takes it, with a copy of the path; NULL with *error filled. */
static struct disk *begin(
	struct machine *machine, const json_t *arguments, struct postern_error *error)
{
	const char *path = json_field_string(arguments, "path", "");
	struct disk *disk = find_free(machine);

	if (!machine->vmm || machine->state > MACHINE_READY) {
		(void)fail(error, POSTERN_ABSENT, ENOTCONN, "the VM is not running");
		return NULL;
	}
	if (vmm_can(machine->driver->kind, VMM_DISKS, POSTERN_ANSWERED, error) < 0)
		return NULL;
	if (json_field_bool(arguments, "qcow2", false) &&
		vmm_can(machine->driver->kind, VMM_QCOW2, POSTERN_ANSWERED, error) < 0)
		return NULL;
	if (path[0] != '/') {
		(void)fail(error, POSTERN_USAGE, EINVAL, "a disk's path is absolute");
		return NULL;
	}
	if (!disk) {
		(void)fail(error, POSTERN_ANSWERED, ENOSPC, "all %d places for disks are taken",
			VM_DISKS_MAX);
		return NULL;
	}
	disk->path = strdup(path);
	if (!disk->path)
		(void)fail_errno(error, POSTERN_ANSWERED, ENOMEM, "disk");
	return disk->path ? disk : NULL;
}

void disk_add_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	struct postern_error error = {0};
	struct disk *disk = begin(machine, arguments, &error);
	struct vmm_device device;

	if (!disk) {
		request_fail(request, &error, NULL);
		return;
	}
	disk->read_only = json_field_bool(arguments, "read_only", false);
	disk->state = SHARE_PLUGGING;
	disk->request = request;
	/* Who waits for it in the guest can begin to. */
	request_progress(request, to_json(disk));
	device = (struct vmm_device){.disk = disk->path,
		.disk_read_only = disk->read_only,
		.disk_qcow2 = json_field_bool(arguments, "qcow2", false)};
	machine->driver->plug(machine->vmm, disk->slot, &device, on_plugged, disk);
}

static void on_unplugged(void *ctx, const struct postern_error *error)
{
	struct disk *disk = ctx;
	struct request *request = take_ptr(disk->request);

	if (error) {
		disk->state = SHARE_PLUGGED;
		request_fail(request, error, NULL);
		return;
	}
	forget(disk);
	request_return(request, NULL);
}

/* The plugged disk of that name, or NULL after failing the request. */
static struct disk *find(struct machine *machine, struct request *request, const json_t *arguments)
{
	const char *wanted = json_field_string(arguments, "id", "");
	struct postern_error error = {0};
	char id[16];

	for (size_t i = 0; i < VM_DISKS_MAX && machine->vmm; i++)
		if (machine->disks[i].state == SHARE_PLUGGED && !machine->disks[i].request &&
			strcmp(vmm_slot_name(machine->disks[i].slot, id), wanted) == 0)
			return &machine->disks[i];
	(void)fail(&error, POSTERN_ABSENT, ENOENT,
		"the VM has no such disk, or it is just being plugged or pulled");
	request_fail(request, &error, NULL);
	return NULL;
}

void disk_remove_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	struct disk *disk = find(machine, request, arguments);

	if (!disk)
		return;
	disk->state = SHARE_UNPLUGGING;
	disk->request = request;
	machine->driver->unplug(machine->vmm, disk->slot, on_unplugged, disk);
}

static void on_resized(void *ctx, const struct postern_error *error)
{
	struct disk *disk = ctx;
	struct request *request = take_ptr(disk->request);

	if (error)
		request_fail(request, error, NULL);
	else
		request_return(request, to_json(disk));
}

void disk_resize_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	json_int_t bytes = json_field_int(arguments, "size", 0);
	struct disk *disk = find(machine, request, arguments);
	struct postern_error error = {0};

	if (!disk)
		return;
	if (bytes <= 0 || bytes % DISK_UNIT != 0 || disk->read_only) {
		(void)fail(&error, POSTERN_USAGE, EINVAL,
			"a disk that can be written to has a multiple of %d bytes", DISK_UNIT);
		request_fail(request, &error, NULL);
		return;
	}
	disk->request = request;
	machine->driver->resize_disk(machine->vmm, disk->slot, (uint64_t)bytes, on_resized, disk);
}
