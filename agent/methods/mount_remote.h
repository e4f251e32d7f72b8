/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File systems of a server. The kernel wants its address, and for NFS the version, from a helper
 * program (mount.nfs, mount.cifs, mount.ceph); none is run here, so this says it.
 *
 * Names of servers are not resolved: a name service's answers would be read by a process that may
 * mount. A source may hold a name only where an option gives the address.
 */
#pragma once

#include "agent/methods/mount_call.h"

/*
 * Checks the source of a SOURCE_REMOTE type (any other is good), when source and options have been
 * checked as such, and sets wish->address and wish->version. 0, or -errno through call_fail().
 */
int mount_remote_check(struct call *call, struct mount_wish *wish);

/* After -EPROTONOSUPPORT: sets the version to try next, as mount.nfs(8) does; false when there is
 * none. */
bool mount_remote_next(struct mount_wish *wish);
