/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a disk says of itself, for guests without udev. */
#pragma once

#include "agent/methods/call.h"

/* Whether the file system on a block device (below /dev) has this label or UUID: libblkid reads it.
 * Where there is no such library, or no such device, it has not. May block as the disk does. */
bool disk_probe_is_called(struct call *call, const char *node, const char *wanted);
