/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's processes, as /proc shows them. */
#pragma once

#include <sys/types.h>

struct process {
	pid_t pid;
	int dir; /* borrowed; /proc/PID */
	uid_t uid;
	char command[32]; /* the task's name, as the kernel has it; not escaped */
};

/* Calls fn for each process. One that ends meanwhile is left out. 0 or -errno. */
int process_each(void (*fn)(void *ctx, const struct process *process), void *ctx);

/* The name of a user in /etc/passwd into name[0..size); empty where there is none. */
void user_name(uid_t uid, char *name, size_t size);
