/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* A listening UNIX stream socket at path (an old one there is replaced), 0600, CLOEXEC and
 * non-blocking. The descriptor, or -errno; -ENAMETOOLONG for what sun_path cannot hold. */
int unix_listen(const char *path, int backlog);

/* True when a living stream socket is bound to the path. Nobody is connected to. */
bool unix_is_bound(const char *path);

/* A connected UNIX stream socket, CLOEXEC and blocking. Connecting itself never waits for longer
 * than a full backlog takes to be served: at most timeout_ms. The descriptor, or -errno. */
int unix_connect(const char *path, int timeout_ms);
