/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listening sockets, and connections that have not said anything yet: those cost one descriptor and
 * no process. Each has 5 s for its first byte; at most 128 wait, at most half of them of one
 * identity, the oldest goes first.
 */
#pragma once

#include "agent/broker/broker.h"

/* Opens the listeners that the configuration names. 0, or -errno with a line in the log. */
int peer_listen(struct broker *broker);

/* Closes listeners and waiting connections, and removes the UNIX sockets. */
void peer_stop(struct broker *broker);
