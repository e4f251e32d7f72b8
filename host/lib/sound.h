/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "host/common/vm_config.h"
#include "proto/client/client.h"

/*
 * Whether the machine's QEMU has a sound device, which none has before version 8.2. Where it has
 * not, a machine that was to have one (asked) is an error, and one that would have it by default
 * goes without. Asked of QEMU itself, once for each QEMU there is. 0, or -errno with *error.
 */
int sound_check(struct vm_config *config, bool asked, struct postern_error *error);
