/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a program for a caller: nothing of the agent is handed on to it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/methods/account.h"

#define PROGRAM_LIMITS_MAX 16

/* What is started, and as whom. All is borrowed. */
struct program {
	const char *const *paths; /* to be tried one after another; ends with NULL */
	char *const *argv;
	char *const *envp;
	const char *cwd; /* NULL: the account's home, or / */
	/* Told before something on a device is asked for, which may take for ever: of the folder,
	 * and of each of paths. Called in the new process, on the memory of this one. */
	void (*reach)(uint64_t device);
	uint64_t cwd_device;
	const uint64_t *path_devices;
	const struct account *account;
	int stdio[3];      /* its standard streams; not 0, 1 or 2 themselves */
	bool terminal;     /* stdio[0] is one, and becomes its controlling terminal */
	int cgroup;        /* opened cgroup.procs of its group; -EBADF: none of its own */
	int parent_signal; /* that it gets when this process ends; 0: none */
	struct {
		int resource; /* RLIMIT_NOFILE ... */
		struct rlimit limit;
	} limits[PROGRAM_LIMITS_MAX];
	size_t limits_n;
};

/* What could not be done. */
enum program_step {
	PROGRAM_CLONE,
	PROGRAM_SESSION,
	PROGRAM_CGROUP,
	PROGRAM_STDIO,
	PROGRAM_LIMIT,
	PROGRAM_ACCOUNT,
	PROGRAM_CWD,
	PROGRAM_EXEC,
};

/*
 * Starts it in a session of its own. 0 with its pid and pidfd (owned), or -errno with the step that
 * failed; then no process is left. Returns once the program runs: blocks for as long as its folder
 * and its file take to be reached.
 */
int program_start(
	const struct program *program, pid_t *ret_pid, int *ret_pidfd, enum program_step *ret_step);

/* The resource of a name as in limits ("nofile"), or -1. */
int program_limit(const char *name);
