/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Connects to a socket at which process 1 starts a unit of its own for each connection. The
 * listener has a backlog, so this does not wait for the program. 0 with *ret_fd (owned,
 * non-blocking), or -errno: -ENOENT or -ECONNREFUSED where there is no such unit. */
int unit_connect(const char *path, int *ret_fd);
