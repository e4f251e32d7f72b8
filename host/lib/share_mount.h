/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's half of a share: its agent mounts and unmounts. */
#pragma once

#include "host/common/vm_config.h"

/* Has the agent of the VM mount the plugged share at its target. wait_ms 0: 10 s. 0 or -errno with
 * *error. */
int share_mount(const char *name, const struct share_config *share, uint32_t wait_ms,
	struct postern_error *error);
