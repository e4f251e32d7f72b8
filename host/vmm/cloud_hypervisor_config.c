/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What Cloud Hypervisor is given: a new machine, or a saved one in new surroundings. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/remove.h"
#include "host/common/vm_files.h"
#include "host/vmm/cloud_hypervisor.h"
#include "proto/cleanup.h"

#define CONFIG "config.json" /* of a snapshot (docs/snapshot_restore.md there) */

/* The other files of a snapshot: they stay where they are. */
static const char *const linked[] = {"state.json", "memory-ranges"};

json_t *cloud_hypervisor_share(unsigned slot, const char *tag, json_t *socket)
{
	char id[16];

	return json_pack("{s:s, s:s, s:o, s:i, s:i}", "id", vmm_slot_name(slot, id), "tag", tag,
		"socket", socket, "num_queues", 1, "queue_size", CLOUD_HYPERVISOR_QUEUE);
}

static int add_shares(const struct vmm *vmm, json_t *machine)
{
	const struct vm_config *config = vmm->setup.config;
	json_t *list = json_array();
	char name[sizeof(VM_FILE_SHARE) + 10];
	int r = config->n_shares > 0 ? json_object_set(machine, "fs", list) : 0;

	for (unsigned i = 0; i < config->n_shares && r == 0; i++) {
		(void)snprintf(name, sizeof(name), VM_FILE_SHARE, i);
		r = json_array_append_new(list, cloud_hypervisor_share(i, config->shares[i].tag,
							http_vmm_path("", vmm->setup.dir, name)));
	}
	json_decref(list);
	return r;
}

static json_t *disk(const char *id, const char *path, bool read_only, bool qcow2)
{
	return json_pack("{s:s, s:s, s:b, s:s, s:s}", "id", id, "path", path, "readonly", read_only,
		"image_type", qcow2 ? "Qcow2" : "Raw", "serial", id);
}

json_t *cloud_hypervisor_disk(unsigned slot, const char *path, bool read_only, bool qcow2)
{
	char id[16];

	return disk(vmm_slot_name(slot, id), path, read_only, qcow2);
}

static int add_image(const struct vm_config *config, json_t *machine)
{
	if (!config->image)
		return 0;
	return json_object_set_new(machine, "disks",
		json_pack("[o]", disk("disk0", config->image, config->image_read_only,
					 config->image_qcow2)));
}

/* By virtio-mem: what ACPI plugs is not taken out again. */
static int add_plug(const struct vm_config *config, json_t *machine)
{
	json_t *memory = json_object_get(machine, "memory");

	if (config->plug_bytes == 0)
		return 0;
	if (json_object_set_new(memory, "hotplug_method", json_string("VirtioMem")) < 0)
		return -ENOMEM;
	return json_object_set_new(
		memory, "hotplug_size", json_integer((json_int_t)config->plug_bytes));
}

/* Memory is shared for the sake of virtiofsd. Its terminal is the guest's serial port. */
json_t *cloud_hypervisor_config(const struct vmm *vmm)
{
	const struct vm_config *config = vmm->setup.config;
	AUTO_JSON json_t *machine = json_pack(
		"{s:{s:i, s:i}, s:{s:I, s:b}, s:{s:s, s:s*, s:s*}, s:{s:s}, s:{s:i, s:b, s:b}, "
		"s:{s:s}, s:{s:s}, s:{s:I, s:o}, s:b}",
		"cpus", "boot_vcpus", (int)config->cpus, "max_vcpus", (int)config->cpus, "memory",
		"size", (json_int_t)config->memory_bytes, "shared", 1, "payload", "kernel",
		config->kernel, "initramfs", config->initrd, "cmdline", config->cmdline, "rng",
		"src", "/dev/urandom", "balloon", "size", 0, "deflate_on_oom", 1,
		"free_page_reporting", 1, "serial", "mode", "Tty", "console", "mode", "Off",
		"vsock", "cid", (json_int_t)config->cid, "socket",
		http_vmm_path("", vmm->setup.dir, VM_FILE_VSOCK), "pvpanic", 1);

	if (!machine || add_plug(config, machine) < 0 || add_image(config, machine) < 0 ||
		add_shares(vmm, machine) < 0)
		return NULL;
	return take_ptr(machine);
}

static const char *restore_dir(const struct vmm *vmm, char path[PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%.4000s/" VM_FILE_RESTORE, vmm->setup.dir);
	return path;
}

void cloud_hypervisor_forget_restore(const struct vmm *vmm)
{
	char path[PATH_MAX];

	(void)remove_tree(restore_dir(vmm, path));
}

/* The new VM's vsock socket, in the place of that which the snapshot was made with. */
static int write_config(const struct vmm *vmm, const char *source, int dir_fd)
{
	AUTO_JSON json_t *config = NULL;
	json_t *socket = http_vmm_path("", vmm->setup.dir, VM_FILE_VSOCK);
	int r = file_read_json(AT_FDCWD, source, &config);

	if (r == 0 && json_object_set(json_object_get(config, "vsock"), "socket", socket) < 0)
		r = -EBADMSG;
	json_decref(socket);
	return r < 0 ? r : file_replace_json(dir_fd, CONFIG, config);
}

int cloud_hypervisor_prepare_restore(const struct vmm *vmm, struct postern_error *error)
{
	const char *source = vmm->setup.config->restore;
	AUTO_CLOSE int dir_fd = -EBADF;
	char dir[PATH_MAX], from[PATH_MAX];
	int r = 0;

	(void)snprintf(from, sizeof(from), "%.4000s/" CONFIG, source);
	(void)remove_tree(restore_dir(vmm, dir));
	if (mkdir(dir, 0700) < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "%s", dir);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "%s", dir);
	r = write_config(vmm, from, dir_fd);
	for (size_t i = 0; i < ARRAY_SIZE(linked) && r == 0; i++) {
		(void)snprintf(from, sizeof(from), "%.4000s/%s", source, linked[i]);
		if (access(from, R_OK) < 0 || symlinkat(from, dir_fd, linked[i]) < 0)
			r = -errno;
	}
	return r < 0 ? fail_errno(error, POSTERN_USAGE, -r, "the snapshot's %s", from) : 0;
}
