/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks by the serial number that whoever plugs them has given them. */
#pragma once

#include <stdint.h>

#include "agent/methods/call.h"

/* A socket on which the kernel tells of devices as they come, which the caller closes, or -errno.
 */
int disk_serial_listen(void);

/* Looks for the disk with this serial number, or a partition of it (0: the disk). *ret_node, in the
 * call's arena: "/dev/vdb". 0, -ENODEV or -ENOMEM. */
int disk_serial_find(struct call *call, const char *serial, uint32_t partition, char **ret_node);

/* Blocks until the kernel has told of a disk, but a tenth of a second at most: it may have told of
 * more than it could keep. socket: as of disk_serial_listen(); where that failed, a moment. */
void disk_serial_wait(int socket, uint64_t until_ns);

/* Bytes of a block device below /dev; 0 where nothing says. */
uint64_t disk_serial_size(struct call *call, const char *node);
