/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "agent/methods/call.h"

/*
 * Moves the end of a partition to the end of the free room behind it, in the table of the disk and
 * in the kernel, by libfdisk, which is opened only here. disk: its name below /dev; number: from 1.
 * The disk may be in use. 0 also where there is no room; or -errno through call_fail(): -ENOPKG
 * without that library.
 */
int partition_grow(struct call *call, const char *disk, uint32_t number);
