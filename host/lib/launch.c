/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "host/common/vm_config.h"
#include "host/common/vm_files.h"
#include "host/lib/accel.h"
#include "host/lib/control_client.h"
#include "host/lib/disk.h"
#include "host/lib/guest.h"
#include "host/lib/registry.h"
#include "host/lib/restore.h"
#include "host/lib/sound.h"
#include "host/lib/share_config.h"
#include "host/lib/share_mount.h"
#include "host/lib/spawn.h"
#include "host/lib/tools.h"
#include "host/lib/vm.h"
#include "host/vmm/qemu.h"
#include "host/vmm/vmm_kind.h"
#include "proto/cleanup.h"

#define VMM_DEFAULT     "qemu"
#define MEMORY_DEFAULT  (UINT64_C(256) << 20)
#define TIMEOUT_DEFAULT 60000
#define START_MS        20000 /* for the VMM to be there, beyond the guest's own time */
#define CONSOLE_CMDLINE "console=ttyS0"
/* Memory that is plugged is used at once, for what can be moved: so it can be taken out again. It
 * may lie above 4 GiB, for which Linux would keep 64 MiB to copy through (swiotlb), by and for
 * devices that no machine here has: 2 MiB do. */
#define CMDLINE_PLUG " memhp_default_state=online_movable swiotlb=1024"
/* Whether its timer works is not for a kernel to find out while the host is busy: then it stops. */
#define CMDLINE_DEFAULT CONSOLE_CMDLINE " quiet panic=-1 no_timer_check"

static_assert(
	(int)POSTERN_DEVICE_BALLOON == DEVICE_BALLOON &&
		(int)POSTERN_DEVICE_CONSOLE == DEVICE_CONSOLE &&
		(int)POSTERN_DEVICE_GPU == DEVICE_GPU && (int)POSTERN_DEVICE_RNG == DEVICE_RNG &&
		(int)POSTERN_DEVICE_SOUND == DEVICE_SOUND &&
		(int)POSTERN_DEVICE_SOUND_INPUT == DEVICE_SOUND_INPUT &&
		(int)POSTERN_DEVICE_VSOCK == DEVICE_VSOCK && (int)POSTERN_DEVICE_NET == DEVICE_NET,
	"what a caller asks for is what a machine has");

static void progress(const struct postern_launch *launch, const char *state)
{
	if (launch->progress)
		launch->progress(launch->ctx, state);
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static int fill_programs(const struct postern_launch *launch, const struct vmm_kind *kind,
	struct vm_config *config, struct postern_error *error)
{
	config->driver = strdup(kind->name);
	config->vmm = vmm_kind_program(kind);
	config->virtiofsd = tool_virtiofsd();
	config->vsockd = kind->own_vsock ? NULL : tool_own("postern-vsockd");
	if (!config->driver)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "launch");
	if (!config->vmm)
		return fail(error, POSTERN_ABSENT, ENOENT, "%s is not installed: there is no %s",
			kind->title, kind->program);
	for (size_t i = 0; i < launch->n_shares; i++)
		if (!config->virtiofsd && !launch->shares[i].p9)
			return fail(error, POSTERN_ABSENT, ENOENT,
				"virtiofsd is not installed (--share HOST:GUEST:9p needs none)");
	return 0;
}

static int fill_shares(
	const struct postern_launch *launch, struct vm_config *config, struct postern_error *error)
{
	for (size_t i = 0; i < launch->n_shares; i++) {
		struct share_config share;
		char source[PATH_MAX], tag[SHARE_TAG_MAX + 1];
		int r = share_config_fill(&launch->shares[i], config, source, tag, &share, error);

		if (r == 0 && vm_config_add_share(config, &share) < 0)
			r = fail_errno(error, POSTERN_ANSWERED, ENOMEM, "share");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Shares that an earlier VM of this name had for good. What cannot be read is none. */
static int fill_kept_shares(
	const struct registry_entry *entry, struct vm_config *config, struct postern_error *error)
{
	AUTO_JSON json_t *object = NULL;
	const json_t *item;
	size_t i;

	if (file_read_json(entry->dir_fd, VM_FILE_SHARES, &object) < 0)
		return 0;
	json_array_foreach(json_object_get(object, "shares"), i, item)
	{
		struct share_config share;

		if (config->n_shares == VM_SHARES_MAX ||
			share_config_from_json(item, &share, NULL) < 0 ||
			vm_config_find_share(config, share.tag) >= 0)
			continue;
		if (vm_config_add_share(config, &share) < 0)
			return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "share");
	}
	return 0;
}

static int fill_config(const struct postern_launch *launch, const struct vmm_kind *kind,
	const struct guest *guest, struct vm_config *config, struct postern_error *error)
{
	int r = fill_programs(launch, kind, config, error);

	if (r == 0 && launch->image)
		r = disk_look(launch->image, &config->image, &config->image_qcow2, error);
	if (r == 0)
		r = fill_shares(launch, config, error);
	if (r < 0)
		return r;
	config->kernel = copy(guest->kernel);
	config->initrd = copy(guest->initrd);
	if (guest->kernel)
		config->cmdline = text_format("%s%s%s%s",
			guest->small ? CMDLINE_DEFAULT : CONSOLE_CMDLINE,
			launch->plug_bytes ? CMDLINE_PLUG : "", launch->cmdline_add ? " " : "",
			launch->cmdline_add ? launch->cmdline_add : "");
	config->memory_bytes = launch->memory_bytes ? launch->memory_bytes : MEMORY_DEFAULT;
	config->plug_bytes = launch->plug_bytes;
	config->plug_block_bytes = launch->plug_block_bytes;
	if (config->plug_bytes > 0 && config->plug_block_bytes == 0)
		config->plug_block_bytes = kind->plug_block;
	config->cpus = launch->cpus ? launch->cpus : 1;
	config->image_read_only = launch->image_read_only;
	config->vsock_kernel = launch->vsock_kernel;
	config->cid = launch->cid;
	if (config->memory_bytes < (UINT64_C(32) << 20) || config->memory_bytes % 4096 != 0)
		return fail(
			error, POSTERN_USAGE, EINVAL, "memory: at least 32 MiB, in pages of 4 KiB");
	if (config->cpus > VM_CPUS_MAX)
		return fail(error, POSTERN_USAGE, EINVAL, "CPUs: 1 to %d", VM_CPUS_MAX);
	if (launch->cid == 1 || launch->cid == 2 || launch->cid == UINT32_MAX)
		return fail(error, POSTERN_USAGE, EINVAL, "a guest's CID is 3 or more");
	return 0;
}

static int write_config(
	const struct registry_entry *entry, struct vm_config *config, struct postern_error *error)
{
	AUTO_JSON json_t *object = NULL;
	int r;

	config->cid = entry->lease.cid;
	free(config->lease); /* of a snapshot's machine */
	config->lease = strdup(entry->lease.path);
	config->name = strdup(entry->name);
	object = config->name && config->lease ? vm_config_to_json(config) : NULL;
	r = object ? file_replace_json(entry->dir_fd, VM_FILE_CONFIG, object) : -ENOMEM;
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s", entry->dir) : 0;
}

static void on_progress(void *ctx, const json_t *state)
{
	progress(ctx, json_field_string(state, "state", "starting"));
}

/* The supervisor ended before it could answer: its record has the reason. */
static int take_end(const struct registry_entry *entry, struct postern_error *error)
{
	AUTO_JSON json_t *end = NULL;

	if (file_read_json(entry->dir_fd, VM_FILE_END, &end) < 0)
		return fail(error, POSTERN_ABSENT, ECONNRESET,
			"the supervisor ended; see %.300s/" VM_FILE_LOG, entry->dir);
	return fail(error, POSTERN_ANSWERED, EIO, "%s",
		json_field_string(end, "reason", "no reason given"));
}

static int wait_until_up(const struct postern_launch *launch, const struct registry_entry *entry,
	uint32_t ready_ms, struct postern_error *error)
{
	AUTO_CLOSE int fd = -EBADF;
	int r = control_connect(entry->dir, &fd, error);

	if (r == 0 && launch->detach)
		r = control_call(fd, "wait-start", NULL, START_MS, NULL, NULL, NULL, error);
	else if (r == 0)
		r = control_call(fd, "wait-ready", json_pack("{s:b}", "own", 1),
			(int)ready_ms + START_MS, on_progress, (void *)launch, NULL, error);
	if (r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT)
		r = take_end(entry, error);
	return r;
}

/* The guest's half of the shares asked for; the whole launch fails with one. Persistent ones of an
 * earlier VM come behind them: the guest remembers these itself; a restored one has none. */
static int mount_shares(const struct postern_launch *launch, const char *name,
	const struct vm_config *config, struct postern_error *error)
{
	struct postern_stop stop = {.force = true};
	char how[16];
	uint64_t ms;
	int r = 0;

	for (size_t i = 0; r == 0 && i < launch->n_shares && i < config->n_shares; i++)
		if (config->shares[i].target)
			r = share_mount(name, &config->shares[i], 0, error);
	if (r < 0)
		(void)postern_stop(name, &stop, how, &ms, NULL);
	return r;
}

static int launch_entry(const struct postern_launch *launch, const struct vmm_kind *kind,
	struct registry_entry *entry, struct vm_config *config, struct postern_vm **ret_vm,
	struct postern_error *error)
{
	const char *name = entry->full;
	int r = launch->restore ? 0 : fill_kept_shares(entry, config, error);

	if (r == 0)
		r = vmm_check(kind, config, error);
	if (r == 0)
		r = write_config(entry, config, error);
	if (r == 0)
		r = supervisor_spawn(entry, error);
	/* From here on the supervisor alone holds the lock and the lease. */
	entry->lock_fd = fd_close(entry->lock_fd);
	lease_done(&entry->lease);
	if (r == 0)
		r = wait_until_up(launch, entry, config->ready_ms, error);
	if (r == 0 && !launch->detach)
		r = mount_shares(launch, name, config, error);
	if (ret_vm && r < 0)
		(void)postern_vm_info(name, ret_vm, NULL);
	else if (ret_vm)
		r = postern_vm_info(name, ret_vm, error);
	return r;
}

static int new_config(const struct postern_launch *launch, const struct vmm_kind *kind,
	struct vm_config *config, struct postern_error *error)
{
	struct guest guest = {0};
	int r = vmm_choose_devices(
		kind, launch->devices_on, launch->devices_off, &config->devices, error);

	if (r == 0)
		r = guest_prepare(launch, &guest, error);
	if (r == 0)
		r = fill_config(launch, kind, &guest, config, error);
	if (r == 0)
		r = accel_choose(launch, kind, &guest, config, error);
	guest_done(&guest);
	return r;
}

/* A new machine, or one that goes on from a snapshot. */
static int make_config(const struct postern_launch *launch, const struct vmm_kind **ret_kind,
	struct vm_config *config, struct postern_error *error)
{
	const struct vmm_kind *kind = vmm_kind_find(launch->vmm ? launch->vmm : VMM_DEFAULT);
	int r;

	if (!kind)
		return fail(error, POSTERN_USAGE, EINVAL, "there is no driver for the VMM %s",
			launch->vmm);
	r = launch->restore ? restore_config(launch, &kind, config, error)
			    : new_config(launch, kind, config, error);
	if (r < 0)
		return r;
	config->ready_ms = launch->timeout_ms ? launch->timeout_ms : TIMEOUT_DEFAULT;
	config->keep_silent = launch->detach;
	*ret_kind = kind;
	r = vmm_check(kind, config, error);
	return r == 0 && kind == &vmm_kinds[VMM_QEMU]
		       ? sound_check(config,
				 launch->devices_on & (DEVICE_SOUND | DEVICE_SOUND_INPUT), error)
		       : r;
}

int postern_launch(const struct postern_launch *launch, struct postern_vm **ret_vm,
	struct postern_error *error)
{
	struct vm_config config = {0};
	struct registry_entry entry = REGISTRY_NO_ENTRY;
	const struct vmm_kind *kind = &vmm_kinds[VMM_QEMU];
	int r = registry_check_name(launch->name, error);

	if (ret_vm)
		*ret_vm = NULL;
	progress(launch, "packing");
	if (r == 0)
		r = make_config(launch, &kind, &config, error);
	if (r == 0) {
		progress(launch, "starting");
		r = registry_claim(launch->name, config.cid, config.vsock_kernel, &entry, error);
	}
	if (r == 0)
		r = launch_entry(launch, kind, &entry, &config, ret_vm, error);
	registry_entry_done(&entry);
	vm_config_done(&config);
	return r;
}
