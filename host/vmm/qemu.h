/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/vmm/vmm.h"

#define QEMU_SHARE_QUEUE 1024U  /* entries of a share's request queue */
#define QEMU_MEMORY      "mem0" /* id of the device whose memory is plugged */

extern const struct vmm_driver qemu_driver;

/* By their numbers in QEMU; those of what the machine has not are not used. */
struct qemu_fds {
	int monitor, console, vsock, virtio_console;
};

/* Fills in the command line of a q35 machine. 0 or -ENOMEM. */
int qemu_command(const struct vmm_setup *setup, const struct qemu_fds *fds, struct argv *argv);

/* Its sound device, which is not in every QEMU. */
#define QEMU_SOUND "virtio-sound-pci"
