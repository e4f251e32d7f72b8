/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/vmm_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/run.h"
#include "host/common/text.h"
#include "host/vmm/balloon.h"
#include "proto/cleanup.h"

#if defined(__x86_64__)
#define QEMU       "qemu-system-x86_64"
#define ELF_KERNEL true
#elif defined(__aarch64__)
#define QEMU       "qemu-system-aarch64"
#define ELF_KERNEL false
#elif defined(__riscv)
#define QEMU       "qemu-system-riscv64"
#define ELF_KERNEL false
#endif

#define NEEDS_KVM    "it needs hardware virtualisation (/dev/kvm)"
#define OWN_VSOCK    "its vsock device is its own"
#define OTHERS_STATE "its vsock device is a process of its own, whose state QEMU refuses to save"
#define NO_FIRMWARE  "it comes without a firmware: give it a kernel (--kernel)"

/* What each has a use for here. */
#define ALWAYS (DEVICE_BALLOON | DEVICE_RNG | DEVICE_VSOCK)

/* What a VMM cannot do, as the end of a sentence. */
static const char *const abilities[VMM_ABILITIES] = {
	[VMM_EMULATE] = "emulate a processor",
	[VMM_FIRMWARE] = "run a disk's boot loader",
	[VMM_QCOW2] = "use a disk of the format qcow2",
	[VMM_SHARES] = "share folders (virtiofs)",
	[VMM_P9] = "share folders as 9p",
	[VMM_DISKS] = "plug disks into a running machine",
	[VMM_VSOCK_KERNEL] = "use the kernel's vhost-vsock",
	[VMM_BLOCK_SIZE] = "plug memory by blocks of a chosen size",
	[VMM_SNAPSHOT] = "keep a machine's state in files",
};

/*
 * Where the facts are from: QEMU 7.2; Firecracker's interface description (firecracker.yaml) and
 * its documents "getting-started" and "rootfs-and-kernel-setup"; Cloud Hypervisor's
 * (cloud-hypervisor.yaml).
 */
const struct vmm_kind vmm_kinds[VMM_KINDS] = {
	[VMM_QEMU] =
		{
			.name = "qemu",
			.title = "QEMU",
			.program = QEMU,
			.variable = "POSTERN_QEMU",
			.cannot = {[VMM_SNAPSHOT] = OTHERS_STATE},
			.devices = ALWAYS | DEVICE_GPU | DEVICE_NET | DEVICE_CONSOLE |
				   DEVICE_SOUND | DEVICE_SOUND_INPUT,
			.unit = BALLOON_PAGE,
			.plug_block = VM_BLOCK_LEAST,
			.cpus_max = VM_CPUS_MAX,
			.tells_memory = true,
		},
	[VMM_FIRECRACKER] =
		{
			.name = "firecracker",
			.title = "Firecracker",
			.program = "firecracker",
			.variable = "POSTERN_FIRECRACKER",
			.cannot = {[VMM_EMULATE] = NEEDS_KVM,
				[VMM_FIRMWARE] = NO_FIRMWARE,
				[VMM_QCOW2] = "its disks are raw",
				[VMM_SHARES] = "it has no such device",
				[VMM_P9] = "it has no such device",
				[VMM_DISKS] = "its disks are there from the start",
				[VMM_VSOCK_KERNEL] = OWN_VSOCK},
			.devices = ALWAYS,
			.fixed = ALWAYS,
			.unit = 1U << 20,
			.plug_block = VM_BLOCK_LEAST,
			.cpus_max = 32,
			.own_vsock = true,
			.console_tty = true,
			.end_is_shutdown = true,
			.reboot_is_end = true,
			.elf_kernel = ELF_KERNEL,
		},
	[VMM_CLOUD_HYPERVISOR] =
		{
			.name = "cloud-hypervisor",
			.title = "Cloud Hypervisor",
			.program = "cloud-hypervisor",
			.variable = "POSTERN_CLOUD_HYPERVISOR",
			.cannot = {[VMM_EMULATE] = NEEDS_KVM,
				[VMM_FIRMWARE] = NO_FIRMWARE,
				[VMM_P9] = "it has no such device",
				[VMM_VSOCK_KERNEL] = OWN_VSOCK,
				[VMM_BLOCK_SIZE] = "that is its own to choose"},
			.devices = ALWAYS,
			.fixed = ALWAYS,
			.unit = BALLOON_PAGE,
			.cpus_max = VM_CPUS_MAX,
			.own_vsock = true,
			.console_tty = true,
			.end_is_shutdown = true,
		},
};

const struct vmm_kind *vmm_kind_find(const char *name)
{
	for (size_t i = 0; i < VMM_KINDS; i++)
		if (strcmp(vmm_kinds[i].name, name) == 0)
			return &vmm_kinds[i];
	return NULL;
}

char *vmm_kind_program(const struct vmm_kind *kind)
{
	const char *own = getenv(kind->variable);

	return own ? strdup(own) : find_program(kind->program);
}

int vmm_can(const struct vmm_kind *kind, enum vmm_ability ability, enum postern_failure failure,
	struct postern_error *error)
{
	if (!kind->cannot[ability])
		return 0;
	return fail(error, failure, EOPNOTSUPP, "%s cannot %s: %s", kind->title, abilities[ability],
		kind->cannot[ability]);
}

static int check_abilities(
	const struct vmm_kind *kind, const struct vm_config *config, struct postern_error *error)
{
	bool p9 = false, virtiofs = false;
	int r = 0;

	for (size_t i = 0; i < config->n_shares; i++) {
		p9 |= config->shares[i].p9;
		virtiofs |= !config->shares[i].p9;
	}
	const bool wanted[VMM_ABILITIES] = {
		[VMM_EMULATE] = !config->kvm,
		[VMM_FIRMWARE] = !config->kernel && !config->restore,
		[VMM_QCOW2] = config->image && config->image_qcow2,
		[VMM_SHARES] = virtiofs,
		[VMM_P9] = p9,
		[VMM_VSOCK_KERNEL] = config->vsock_kernel,
		[VMM_BLOCK_SIZE] = config->plug_block_bytes != 0,
		[VMM_SNAPSHOT] = config->restore != NULL,
	};

	for (int i = 0; i < VMM_ABILITIES && r == 0; i++)
		if (wanted[i])
			r = vmm_can(kind, (enum vmm_ability)i, POSTERN_USAGE, error);
	return r;
}

int vmm_choose_devices(const struct vmm_kind *kind, uint32_t on, uint32_t off,
	uint32_t *ret_devices, struct postern_error *error)
{
	if (on & off)
		return fail(error, POSTERN_USAGE, EINVAL, "%s: on, or off?", device_name(on & off));
	if (on & ~kind->devices)
		return fail(error, POSTERN_USAGE, EOPNOTSUPP, "%s: Postern gives %s no such device",
			device_name(on & ~kind->devices), kind->title);
	if (off & kind->fixed)
		return fail(error, POSTERN_USAGE, EOPNOTSUPP,
			"%s: Postern always gives %s this device", device_name(off & kind->fixed),
			kind->title);
	if (on & DEVICE_SOUND_INPUT && off & DEVICE_SOUND)
		return fail(error, POSTERN_USAGE, EINVAL,
			"virtio-sound-input: a part of virtio-sound, which is off");
	*ret_devices = ((devices_default() & kind->devices) | on) & ~off;
	return 0;
}

/* The four bytes that every ELF file begins with (elf(5)). */
static int check_kernel(const struct vmm_kind *kind, const char *path, struct postern_error *error)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char magic[4] = {0};

	if (fd < 0)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", path);
	if (read(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0)
		return 0;
	return fail(error, POSTERN_USAGE, ENOEXEC,
		"%s cannot boot %s: it takes an uncompressed kernel, vmlinux (the kernel's "
		"scripts/extract-vmlinux makes one of a vmlinuz)",
		kind->title, path);
}

static int check_plug(const struct vm_config *config, struct postern_error *error)
{
	uint64_t block = config->plug_block_bytes;

	if (block != 0 && config->plug_bytes == 0)
		return fail(error, POSTERN_USAGE, EINVAL,
			"a size of blocks, but no memory to be plugged");
	if (config->plug_bytes % VM_PLUG_UNIT != 0 || config->plug_bytes > VM_PLUG_MOST)
		return fail(error, POSTERN_USAGE, EINVAL,
			"memory to be plugged: a multiple of 128 MiB, 16 TiB at most");
	if (block != 0 &&
		(block < VM_BLOCK_LEAST || block > VM_PLUG_UNIT || (block & (block - 1)) != 0))
		return fail(error, POSTERN_USAGE, EINVAL,
			"blocks of memory to be plugged: a power of two from 2 MiB to 128 MiB");
	return 0;
}

int vmm_check_plug(const struct vmm_kind *kind, const struct vm_config *config, uint64_t bytes,
	struct postern_error *error)
{
	uint64_t block = config->plug_block_bytes ? config->plug_block_bytes : kind->unit;
	char size[24];

	if (config->plug_bytes == 0)
		return fail(error, POSTERN_ANSWERED, ENODEV, "The guest has no virtio-mem device");
	if (bytes > config->plug_bytes)
		return fail(error, POSTERN_USAGE, ERANGE,
			"at most %llu bytes can be plugged into this guest",
			(unsigned long long)config->plug_bytes);
	if (bytes % block != 0)
		return fail(error, POSTERN_USAGE, EINVAL, "memory is plugged in units of %s",
			format_size(block, size));
	return 0;
}

int vmm_check(
	const struct vmm_kind *kind, const struct vm_config *config, struct postern_error *error)
{
	char size[24];
	int r = check_abilities(kind, config, error);

	if (r < 0)
		return r;
	if (config->memory_bytes % kind->unit != 0)
		return fail(error, POSTERN_USAGE, EINVAL, "%s takes memory in units of %s",
			kind->title, format_size(kind->unit, size));
	r = check_plug(config, error);
	if (r < 0)
		return r;
	if (config->cpus > kind->cpus_max)
		return fail(error, POSTERN_USAGE, EINVAL, "%s has at most %u CPUs", kind->title,
			kind->cpus_max);
	if (!(config->devices & DEVICE_VSOCK))
		r = config->keep_silent
			    ? 0
			    : fail(error, POSTERN_USAGE, EINVAL,
				      "without a vsock device no agent can be reached: --detach");
	else if (!config->vsockd && !config->vsock_kernel && !kind->own_vsock)
		r = fail(error, POSTERN_ABSENT, ENOENT, "postern-vsockd is not installed");
	if (r < 0)
		return r;
	if (kind->elf_kernel && config->kernel && !config->restore)
		return check_kernel(kind, config->kernel, error);
	return 0;
}

int vmm_check_balloon(const struct vmm_kind *kind, uint64_t memory_bytes, uint64_t pages,
	struct postern_error *error)
{
	uint64_t least = (uint64_t)BALLOON_LEAST_MIB << 20;
	uint64_t most = memory_bytes > least ? (memory_bytes - least) / BALLOON_PAGE : 0;

	if (pages > most)
		return fail(error, POSTERN_USAGE, ERANGE,
			"the balloon can take at most %llu pages: %u MiB are left to the guest",
			(unsigned long long)most, BALLOON_LEAST_MIB);
	if (pages % (kind->unit / BALLOON_PAGE) != 0)
		return fail(error, POSTERN_USAGE, EINVAL,
			"the balloon of %s takes pages by %u at a time", kind->title,
			kind->unit / BALLOON_PAGE);
	return 0;
}
