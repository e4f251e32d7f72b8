/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where nobody but root's processes restrains the agent (a small guest, OpenRC), it starts
 * postern-kmod itself. The right to load modules is then in one process that the broker starts
 * before it gives that right up for good: the keeper. All it does is to start postern-kmod for each
 * connection that the broker passes on.
 */
#pragma once

#include "agent/broker/broker.h"

/*
 * Starts the keeper where the broker has CAP_SYS_MODULE, and takes the right from the broker and
 * from all that it will ever start. Must come before anything else is started. 0, or -errno with a
 * line in the log.
 */
int keeper_start(struct broker *broker);

/* A connection (owned by the caller) to a postern-kmod that the keeper starts for it. It ends when
 * the connection is closed. 0; -ENOTCONN where there is no keeper; or -errno. */
int keeper_connect(struct broker *broker, int *ret_fd);

/* The keeper: this program once more, with the path of postern-kmod. Returns an exit code. */
int keeper_main(const char *program);
