/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/broker/broker.h"

/* INNER_WANT_HOOKS: a process for jobs runs them and tells who asked, through the socket (owned
 * from here on). Where there is none, or the worker's row is not of those that have hooks, it is
 * closed. */
void hooks_start(struct child *worker, const struct inner_message *message, int socket);
