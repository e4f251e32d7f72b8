/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/vmm/vmm.h"

#define QEMU_SHARE_QUEUE 1024U  /* entries of a share's request queue */
#define QEMU_MEMORY      "mem0" /* id of the device whose memory is plugged */

extern const struct vmm_driver qemu_driver;

/* Fills in the command line of a q35 machine. Its descriptors are the monitor's stream, the
 * console's and the vsock device's, by their numbers there. 0 or -ENOMEM. */
int qemu_command(
	const struct vmm_setup *setup, int monitor, int console, int vsock, struct argv *argv);
