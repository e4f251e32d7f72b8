/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes started ahead of need: one session always, one worker and one reader while somebody is
 * connected. Starting one takes 20 to 60 ms in a slow guest, handing over a ready one a few. Each
 * is fresh: it has read nothing but its arguments. They are refilled when nothing else is to do, at
 * a bounded rate.
 */
#pragma once

#include "agent/broker/broker.h"

/* The spare process for the role, or a new one when there is none. on_exit and on_message must be
 * set by the caller. 0 or -errno. */
int spare_take(struct broker *broker, enum role role, struct child **ret_child);

/* A reader that answered its request: kept as the idle one, or let go. */
void spare_return_reader(struct child *child);

/* Starts what is missing, soon. */
void spare_refill(struct broker *broker);

/* Ends what is not needed while nobody is connected. */
void spare_trim(struct broker *broker);
