/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/vmm/vmm.h"

/* Files of a snapshot's folder. */
#define FIRECRACKER_STATE  "state"
#define FIRECRACKER_MEMORY "memory"

extern const struct vmm_driver firecracker_driver;
