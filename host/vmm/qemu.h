/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/vmm/vmm.h"

#define QEMU_SHARE_QUEUE 1024U /* entries of a share's request queue */

extern const struct vmm_driver qemu_driver;

/* vmm_driver.command for QEMU's q35 machine. */
int qemu_command(const struct vm_config *config, struct argv *ret_argv);
