/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/vmm/http_vmm.h"

#define CLOUD_HYPERVISOR_QUEUE 1024 /* entries of a share's request queue */

extern const struct vmm_driver cloud_hypervisor_driver;

/* What is put into "vm.create". A new reference; NULL: no memory, or a path that is not UTF-8. */
json_t *cloud_hypervisor_config(const struct vmm *vmm);

/*
 * Makes the folder that "vm.restore" reads: the snapshot's own configuration, but with the new
 * VM's vsock socket, and links to the rest of it. 0 or -errno with *error.
 */
int cloud_hypervisor_prepare_restore(const struct vmm *vmm, struct postern_error *error);

/* Drops that folder. */
void cloud_hypervisor_forget_restore(const struct vmm *vmm);

/* One file system device, as it is plugged. */
json_t *cloud_hypervisor_share(unsigned slot, const char *tag, json_t *socket);

/* One disk. */
json_t *cloud_hypervisor_disk(unsigned slot, const char *path, bool read_only, bool qcow2);

void cloud_hypervisor_plug(struct vmm *vmm, unsigned index, const struct vmm_device *device,
	vmm_done_fn fn, void *ctx);
void cloud_hypervisor_unplug(struct vmm *vmm, unsigned index, vmm_done_fn fn, void *ctx);
void cloud_hypervisor_resize_disk(
	struct vmm *vmm, unsigned index, uint64_t bytes, vmm_done_fn fn, void *ctx);

/* The event "device-removed". */
void cloud_hypervisor_device_removed(struct vmm *vmm, const char *device);
