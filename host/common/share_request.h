/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "host/common/vm_config.h"

/* The parameters of shares.mount for a plugged share, packed; the caller frees. The agent waits up
 * to wait_ms for the device. NULL: out of memory. */
uint8_t *share_mount_request(const struct share_config *share, uint32_t wait_ms, size_t *ret_len);
