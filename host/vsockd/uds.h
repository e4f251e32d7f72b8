/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Creates a listening socket, mode 0600, at path. Its directory must belong to this user or to root
 * and be closed to writes of others (unless sticky), else -EPERM. A stale socket there is replaced;
 * one that somebody answers on is -EADDRINUSE, a file of another type -EEXIST. 0 or -errno. */
int uds_listen(const char *path, int *ret_fd);
