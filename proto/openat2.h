/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* openat2() since Linux 5.6; the C library has no wrapper. */
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* resolve: RESOLVE_... of openat2(2); mode: of a file that is made, else 0. The caller's
 * descriptor, closed on exec, or -errno. Blocks as open(2) does. -EAGAIN: whatever was renamed or
 * mounted anywhere meanwhile may have been on the way each time, and so many times in a row. */
int path_open(int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve);

/* From here on, or no longer, path_open() of this process follows no link, whatever it is asked
 * for: what a path leads to is then what its text says. */
void path_forbid_links(bool forbid);
