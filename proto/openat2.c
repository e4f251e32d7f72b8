/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/openat2.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 128

static uint64_t always;

int path_open(int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve | always};
	long fd;
	int tries = 0;

	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && ++tries < TRIES);

	return fd < 0 ? -errno : (int)fd;
}

void path_forbid_links(bool forbid)
{
	always = forbid ? RESOLVE_NO_SYMLINKS : 0;
}
