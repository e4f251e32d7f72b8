/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Starts a program, looked up in PATH unless its path has a slash: no signal blocked, each with its
 * default reaction, whatever the caller's are. channel (borrowed, -EBADF: none) becomes descriptor
 * 3; besides standard input, output and error it finds what is not close-on-exec. own_group puts it
 * into a process group of its own. *ret_pid is to be waited for. 0 or -errno; blocks for a vfork()
 * and exec.
 */
int spawn_program(
	const char *path, char *const argv[], int channel, bool own_group, pid_t *ret_pid);
