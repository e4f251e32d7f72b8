/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/common/vm_config.h"
#include "host/lib/guest.h"
#include "host/vmm/vmm_kind.h"

/*
 * Sets config->kvm. With POSTERN_ACCEL_AUTO (and no $POSTERN_ACCEL) hardware acceleration is used
 * only where a small guest has answered under it: /dev/kvm can exist, open, and never bring a guest
 * up. The proof, a trial boot of at most 20 s, is kept for this boot of the host, this QEMU and
 * this kernel. A VMM that cannot emulate needs no proof, but a /dev/kvm that opens. 0 or -errno
 * with *error.
 */
int accel_choose(const struct postern_launch *launch, const struct vmm_kind *kind,
	const struct guest *guest, struct vm_config *config, struct postern_error *error);
