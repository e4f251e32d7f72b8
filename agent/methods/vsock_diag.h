/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <linux/vm_sockets_diag.h>

/* Calls fn for each vsock socket of the network namespace; fn NULL: only finds out whether the
 * kernel can. 0, -ENOENT where it has no vsock_diag, or another -errno. Blocks for a netlink dump.
 */
int vsock_diag_dump(void (*fn)(void *ctx, const struct vsock_diag_msg *socket), void *ctx);
