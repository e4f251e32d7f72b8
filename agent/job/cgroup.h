/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A control group of a program's own (cgroup v2): below the unit's where postern-job has one, else
 * below /sys/fs/cgroup/postern. One in a process. */
#pragma once

#include <stdint.h>

struct cgroup_limits {
	uint64_t memory_max;  /* bytes; 0: no limit */
	uint32_t pids_max;    /* 0: no limit */
	uint32_t cpu_percent; /* hundredths of one processor; 0: no limit */
};

/* In a unit of our own: moves into a group below its own. One that hands controllers down holds no
 * process itself (cgroups(7)). 0 or -errno. */
int cgroup_enter_leaf(void);

/* Makes the group of a job's number. 0 with its cgroup.procs and cgroup.kill opened for writing
 * (owned; *ret_kill is -EBADF before Linux 5.14), -EOPNOTSUPP where no cgroup v2 is mounted or a
 * controller for a limit is missing, or -errno. */
int cgroup_make(uint64_t number, const struct cgroup_limits *limits, int *ret_procs, int *ret_kill);

/* Removes it, if nothing is left in it. */
void cgroup_remove(uint64_t number);
