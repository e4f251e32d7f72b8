/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kmod-helpers/boot.h"

static const struct kmod_boot rows[] = {
	{"virtio_pci", true, true},
	{"virtio_mmio", false, true},
	{"vsock", true, true},
	{"vmw_vsock_virtio_transport", true, true},
	{"vsock_diag", false, true},
	{"virtio_balloon", true, true},
	{"virtiofs", true, true},
	{"virtio_mem", false, true},
	{"virtio_rng", false, true},
	{"virtio_blk", false, true},
	{"virtio_console", false, true},
	{"9pnet_virtio", false, false},
	{"9p", false, false},
	{"ext4", false, false},
	{"overlay", false, false},
	{"loop", false, false},
	{"fuse", false, false},
	{"vsock_loopback", false, false},
	{"dummy", false, false},
};

const struct kmod_boot *kmod_boot_modules(size_t *ret_n)
{
	*ret_n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}
