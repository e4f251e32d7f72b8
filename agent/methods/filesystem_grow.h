/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/methods/filesystem_set.h"

/*
 * Has a mounted file system take all of its device, which has so many bytes: ext4 (since Linux
 * 3.3), xfs and btrfs, each by its own ioctl. Sizes before and after in bytes, of statfs(2). 0, or
 * -errno through call_fail(): -EOPNOTSUPP for another type. May hang as the disk does.
 */
int filesystem_grow(struct call *call, const struct filesystem *fs, uint64_t device_bytes,
	uint64_t *ret_before, uint64_t *ret_after);
