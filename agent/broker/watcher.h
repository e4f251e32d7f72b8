/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The watcher, which sees what changes in the guest and owns the order of events. */
#pragma once

#include "agent/broker/broker.h"

/* Starts it, and again (after a second) whenever it ends. */
void watcher_start(struct broker *broker);

/* Joins somebody with it: *ret_fd (owned by the caller) is a pair's end. 0 or -errno; -ENOTCONN
 * while it is being restarted. */
int watcher_subscribe(struct broker *broker, const struct subscriber_facts *facts, int *ret_fd);

/* Passes on a notification that a worker packed (fd borrowed). */
void watcher_emit(struct broker *broker, uint64_t topic, int fd);
