/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/common/vm_config.h"
#include "host/lib/postern.h"
#include "host/vmm/vmm_kind.h"

/*
 * Reads what launch->restore, a folder of postern_snapshot(), is a snapshot of: the machine as it
 * was, to be restored from there by the VMM that saved it, *ret_kind. Its programs are those of
 * today. 0 or -errno with *error; the caller frees with vm_config_done().
 */
int restore_config(const struct postern_launch *launch, const struct vmm_kind **ret_kind,
	struct vm_config *ret_config, struct postern_error *error);
