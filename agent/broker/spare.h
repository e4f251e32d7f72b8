/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes started ahead of need: one session always; while somebody is connected, those that
 * workers and jobs are forked of. Starting one takes 20 to 60 ms in a slow guest, handing over or
 * forking a ready one a few. Each is fresh: it has read nothing but its arguments. What is missing
 * is started when no call runs (what goes by lanes the broker does not see), or a second after it
 * was found missing: one that hangs does not keep others from finding a spare. A reader whose
 * caller has left is kept a while.
 */
#pragma once

#include "agent/broker/broker.h"

/* A process for the role: the spare one, one forked, or a new one when there is none. on_exit and
 * on_message must be set by the caller. 0 or -errno. */
int spare_take(struct broker *broker, enum role role, struct child **ret_child);

/* A reader that answered its request: kept as the idle one, or let go. */
void spare_return_reader(struct child *child);

/* Starts what is missing, once no request runs. */
void spare_refill(struct broker *broker);

/* The process that workers are forked of is let go, and another started. What was asked of it is
 * done yet. */
void spare_renew_worker(struct broker *broker);

/* Ends what is not needed while nobody is connected. */
void spare_trim(struct broker *broker);
