/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may be said about a mount: its type, the flags of the mount itself, the type's own options.
 */
#pragma once

#include <stdint.h>

#include "agent/methods/call.h"
#include "kmod-helpers/types.h"
#include "messages.h"

/* The row of an allowed type. 0, or -errno through call_fail(). */
int mount_type_check(struct call *call, const char *name, const struct fs_type **ret_type);

/* Each option is a flag of mounts or one of the type's own, at most once, and its value is no
 * longer than 4096 bytes. */
int mount_options_check(struct call *call, const struct fs_type *type,
	Postern__V1__MountOption **options, size_t n);

/* True for a flag of the mount itself ("ro", "noatime"); applies it to *attributes unless NULL. */
bool mount_attribute(const char *key, uint64_t *attributes);

/* The attributes for fsmount(): nosuid and nodev unless the options say otherwise. */
unsigned int mount_attributes(Postern__V1__MountOption **options, size_t n);

/* "ro" is the last word on it. */
bool mount_read_only(Postern__V1__MountOption **options, size_t n);
