/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How each of the agent's programs gives up what it does not need, first thing in its main():
 * before that it has read nothing but its own arguments.
 *
 *   session  empty root, unprivileged user, no capability, nothing can be gained back
 *   watch    the same but in the guest's own root and mount namespace
 *   reader   process 1's mount namespace, unprivileged user, no capability
 *   worker   process 1's mount namespace, user 0; what some row has is permitted, nothing
 * effective, until worker_keep() cuts it to the own row's; programs it runs gain none
 *   job      process 1's mount namespace, user 0; all that the agent may is permitted, nothing
 * effective until its request was checked; what it runs may gain what its user may
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum role { ROLE_BROKER, ROLE_SESSION, ROLE_WATCH, ROLE_READER, ROLE_WORKER, ROLE_JOB, ROLE_KMOD };

/* "session" and so on. */
const char *role_name(enum role role);

struct confinement {
	enum role role;
	uid_t uid; /* of unprivileged roles */
	gid_t gid;
	const char *empty_dir; /* an empty folder; root of a session */
};

/*
 * Parses a child's arguments as the broker gives them (ROLE UID GID EMPTY_DIR) and applies them.
 * 0, or -errno with a line in the log: the program must end then. The parent's death is this
 * process's.
 */
int confine_from_args(int argc, char **argv, struct confinement *ret);

/* postern-job in a unit of its own: as confine_from_args() leaves one that the broker started. 0,
 * or -errno with a line in the log. */
int confine_unit_job(void);

/* This process ends with its parent, which getppid() said is this. 0; -ESRCH: it has ended. */
int confine_end_with(pid_t parent);

/* True when this process is permitted all of these capabilities. */
bool confine_has(uint64_t caps);

/* The broker: gives these up, for itself and for whatever it starts from here on. 0 or -errno. */
int confine_give_up(uint64_t caps);

/* The keeper: keeps the right to start a program with these, and no other; it ends with its parent.
 * 0 or -errno. */
int confine_keeper(uint64_t caps);

/* A worker, once its row is known: only these capabilities stay permitted, none effective yet; and
 * no socket of the network can be opened, unless the row is about that. 0 or -errno. */
int worker_keep(uint64_t caps, bool network);

/* Makes the permitted capabilities effective, right before the handler. */
int worker_raise(uint64_t caps);

/* ... and, behind it, where the process goes on, ineffective again; they stay permitted. */
int worker_lower(uint64_t caps);

/* A job: all that is permitted takes effect, for the start of its program. 0 or -errno. */
int job_raise(void);

/* A job, once its program runs: only these stay, in effect. 0 or -errno. */
int job_keep(uint64_t caps);
