/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct process_options;

/*
 * Forks and runs argv[0] with /dev/null as standard input, log_fd as standard output and error,
 * fds[i] as 3 + i and no other descriptors; own process group, default signals, SIGKILL with the
 * death of the calling thread. options may be NULL; a read-only folder takes a mount namespace of
 * its own, and CAP_SYS_ADMIN. Returns once the new program has taken over: 0 and *ret_pid, or
 * -errno of what went wrong before that.
 */
int child_exec(char *const argv[], const int *fds, size_t n, int log_fd,
	const struct process_options *options, pid_t *ret_pid);
