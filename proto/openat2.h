/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* openat2() since Linux 5.6; the C library has no wrapper. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define PATH_OPEN_TRIES 128

/* resolve: RESOLVE_... of openat2(2); mode: of a file that is made, else 0. The caller's
 * descriptor, closed on exec, or -errno. Blocks as open(2) does. -EAGAIN: whatever was renamed or
 * mounted anywhere meanwhile may have been on the way each time, and so many times in a row. */
static inline int path_open(
	int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	long fd;
	int tries = 0;

	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && ++tries < PATH_OPEN_TRIES);

	return fd < 0 ? -errno : (int)fd;
}
