/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work that no caller asked for, each in a short-lived worker, never in the broker or the watcher:
 * anyone may freeze a file system, and then only that worker hangs.
 */
#pragma once

#include "agent/broker/broker.h"

/* Starts to write the load history to the state folder, unless a writer is still at it, or hangs.
 */
void chore_save_history(struct broker *broker);

/* Starts to thaw what the record has; why: enum thaw_why. ended is told how it went, RESTORE_DONE
 * or another. 0 or -errno. */
int chore_thaw(struct broker *broker, unsigned int why,
	void (*ended)(struct broker *broker, uint64_t result));

/* Starts to mount the persistent shares that are not mounted, one after another, and again for as
 * long as one of them fails. */
void chore_restore_shares(struct broker *broker);
