/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Workers and those that look after programs are forked of a process that stands ready while
 * somebody is connected (agent/zygote.h): one of postern-worker, and, where somebody may run
 * programs, one of postern-job.
 */
#pragma once

#include "agent/broker/broker.h"

/* Where the zygote of ROLE_WORKER or ROLE_JOB stands. */
struct child **zygote_place(struct broker *broker, enum role role);

/* Starts the one that is missing. 0 or -errno, with a line in the log. Blocks as child_start(). */
int zygote_start(struct broker *broker, enum role role);

/* A process forked of it, which is started when there is none. It tells who it is a little later,
 * and may be sent messages at once. 0 or -errno. */
int zygote_fork(struct broker *broker, enum role role, struct child **ret_child);
