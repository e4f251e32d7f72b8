/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual machine monitors that there are drivers for, and what each of them cannot do. What is
 * asked of a VMM is checked here alone, before anything is started.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/common/vm_config.h"

/* What not every VMM can do. */
enum vmm_ability {
	VMM_EMULATE,      /* run without hardware virtualisation */
	VMM_FIRMWARE,     /* boot a disk's own boot loader */
	VMM_QCOW2,        /* disks of this format */
	VMM_SHARES,       /* virtiofs, from the start and plugged later */
	VMM_P9,           /* 9p devices */
	VMM_DISKS,        /* disks plugged while it runs */
	VMM_VSOCK_KERNEL, /* the host kernel's vhost-vsock */
	VMM_BLOCK_SIZE,   /* let the size of plugged memory's blocks be chosen */
	VMM_SNAPSHOT,     /* keep a machine in files, and start it from them */
	VMM_ABILITIES
};

enum { VMM_QEMU, VMM_FIRECRACKER, VMM_CLOUD_HYPERVISOR, VMM_KINDS };

struct vmm_kind {
	const char *name;                  /* for --vmm: "cloud-hypervisor" */
	const char *title;                 /* in sentences: "Cloud Hypervisor" */
	const char *program;               /* its name in PATH */
	const char *variable;              /* of the environment: the program; it wins */
	const char *cannot[VMM_ABILITIES]; /* why not; NULL: it can */
	uint32_t devices, fixed;           /* enum device: that it can have; that it always has */
	uint32_t unit;                     /* bytes that memory and balloon are counted in */
	uint32_t plug_block;               /* bytes, where nothing is said of them; 0: its own */
	unsigned cpus_max;
	bool tells_memory;    /* how much is plugged, whenever that changes */
	bool own_vsock;       /* serves the hybrid socket itself: no postern-vsockd */
	bool console_tty;     /* the guest's serial port is the VMM's terminal */
	bool end_is_shutdown; /* exit code 0 is the guest's own end: nothing else tells of it */
	bool reboot_is_end;   /* a guest ends by rebooting: there is no switching off */
	bool elf_kernel;      /* on x86: an uncompressed vmlinux, no bzImage */
};

extern const struct vmm_kind vmm_kinds[VMM_KINDS];

/* The row of a name, or NULL. */
const struct vmm_kind *vmm_kind_find(const char *name);

/* The VMM's program: what the environment names, or what PATH has. The caller frees; NULL: none. */
char *vmm_kind_program(const struct vmm_kind *kind);

/* 0, or -EOPNOTSUPP with *error (its failure as given) saying what this VMM cannot do, and why. */
int vmm_can(const struct vmm_kind *kind, enum vmm_ability ability, enum postern_failure failure,
	struct postern_error *error);

/* Whether the VMM can start this machine. 0 or -errno with *error. */
int vmm_check(
	const struct vmm_kind *kind, const struct vm_config *config, struct postern_error *error);

/* The devices of a machine for which these were asked for and not wanted (enum device). 0
 * with *ret_devices, or -EOPNOTSUPP with *error. */
int vmm_choose_devices(const struct vmm_kind *kind, uint32_t on, uint32_t off,
	uint32_t *ret_devices, struct postern_error *error);

/* Whether so many bytes can be asked to be plugged. 0, -ENODEV, -ERANGE or -EINVAL with *error. */
int vmm_check_plug(const struct vmm_kind *kind, const struct vm_config *config, uint64_t bytes,
	struct postern_error *error);

/* Whether a balloon can take so many pages of 4 KiB. 0, -ERANGE or -EINVAL with *error. */
int vmm_check_balloon(const struct vmm_kind *kind, uint64_t memory_bytes, uint64_t pages,
	struct postern_error *error);
