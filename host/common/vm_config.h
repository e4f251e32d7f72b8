/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a VM is made of: the vm.json in its directory. The command line writes it, the supervisor
 * reads it; nothing in it comes from a guest.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"

#define VM_SHARES_MAX 8 /* shares that can be plugged at a time */
#define VM_DISKS_MAX  4 /* disks that can be, besides the one from the start */
#define VM_CPUS_MAX   64

/* Memory is plugged into Linux by blocks that are as large (memory-hotplug.rst of its
 * documentation), of which a device's own blocks are parts. */
#define VM_PLUG_UNIT   (UINT64_C(128) << 20)
#define VM_PLUG_MOST   (UINT64_C(1) << 44)
#define VM_BLOCK_LEAST (UINT64_C(2) << 20)

struct share_config {
	char *tag;    /* how the guest names the device */
	char *source; /* directory of the host, absolute */
	char *target; /* where the guest mounts it; the device half only records it */
	bool read_only;
	bool persistent; /* plugged again when a VM of this name is launched again */
	bool p9;         /* a 9p device of the VMM's own, there from its start to its end */
};

struct vm_config {
	char *name;
	char *driver;    /* the name of a row of vmm_kinds */
	char *vmm;       /* program */
	char *virtiofsd; /* program; NULL: shares cannot be plugged */
	char *vsockd;    /* program; NULL where the VMM or the kernel has the vsock device */
	char *kernel;    /* NULL: the firmware boots the image */
	char *initrd;
	char *cmdline;
	char *restore; /* folder of a snapshot that the machine goes on from; NULL: it boots */
	char *image;   /* disk; NULL: none */
	bool image_qcow2;
	bool image_read_only;
	uint64_t memory_bytes;
	uint64_t plug_bytes; /* most that can be plugged while it runs (virtio-mem); 0: no device */
	uint64_t plug_block_bytes; /* what is plugged at a time; 0: as the VMM likes */
	unsigned cpus;
	bool kvm;          /* hardware acceleration; false: TCG */
	bool vsock_kernel; /* the host kernel's vhost-vsock in place of postern-vsockd */
	uint32_t cid;
	char *lease;       /* file of the CID's lease */
	uint32_t devices;  /* enum device, or-ed */
	uint32_t ready_ms; /* from the start to the agent's hello; then the VM is ended */
	bool keep_silent;  /* a guest without an agent is kept all the same */
	struct share_config *shares;
	size_t n_shares;
};

/* Frees what the structure owns and empties it. */
void vm_config_done(struct vm_config *config);

/* A new reference, or NULL on ENOMEM. */
json_t *vm_config_to_json(const struct vm_config *config);

/* Checks and copies; on failure *config is empty. 0, -EINVAL or -ENOMEM with *error. */
int vm_config_from_json(
	const json_t *object, struct vm_config *ret_config, struct postern_error *error);

/* Appends a share (the strings are copied). 0 or -ENOMEM. */
int vm_config_add_share(struct vm_config *config, const struct share_config *share);

/* The index of the share with this tag, or -1. */
int vm_config_find_share(const struct vm_config *config, const char *tag);

json_t *share_config_to_json(const struct share_config *share);

/* Checks a share: tag, absolute paths without NUL. The result borrows from the object. 0 or -EINVAL
 * with *error. */
int share_config_from_json(
	const json_t *object, struct share_config *ret_share, struct postern_error *error);
