/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From here on this process, and what it starts, opens no socket but UNIX, VSOCK and NETLINK ones:
 * EAFNOSUPPORT for all others, and ENOSYS for the system calls of another architecture. Needs
 * no_new_privs. 0, also on a kernel without seccomp filters (CONFIG_SECCOMP_FILTER), or -errno.
 */
int families_keep_local(void);
