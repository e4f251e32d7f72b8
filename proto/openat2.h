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

/* resolve: RESOLVE_... of openat2(2); mode: of a file that is made, else 0. The caller's
 * descriptor, closed on exec, or -errno. Blocks as open(2) does. */
static inline int path_open(
	int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}
