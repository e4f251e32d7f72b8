/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes that SIGKILL does not end: they wait in the kernel for a file system that does not
 * answer. They are listed and counted, and the device they hang on is quarantined: nobody touches
 * it again until they are gone.
 */
#pragma once

#include "agent/broker/broker.h"

#define KILL_GRACE_MS 250 /* a killed process that still lives then is stuck */

/* A killed child that still lives. Owns the child from now on; it is freed when it ends at last. */
void stuck_add(struct child *child);

/* A child of a reader of ours, as that says, hangs on the device. A process that is not its child,
 * or is listed already, is ignored. */
void stuck_add_child_of(struct child *reader, pid_t pid, uint64_t device);

/* Before a process is killed that looks after another one's start: should that other one hang, it
 * is listed as soon as it turns out not to end. */
void stuck_follow_child_of(struct child *child);

/* No further process may be risked, unless for what may help. */
bool stuck_many(const struct broker *broker);

/* Somebody hangs who runs this method; METHOD_COUNT: the writer of the history. */
bool stuck_runs(const struct broker *broker, enum method method);
