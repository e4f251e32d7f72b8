/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes of the agent, each with one socket to the broker at descriptor 3: exec'd, or forked of
 * one that was and has read nothing (zygote.h). */
#pragma once

#include "agent/broker/broker.h"

/* Starts a program for the role. The child is in broker->children and belongs to its on_exit, which
 * the caller sets. 0 or -errno. Blocks for one vfork() and exec. */
int child_start(struct broker *broker, enum role role, struct child **ret_child);

/* The same for a process that somebody else has started for us, at the other end of the socket
 * (owned, also on failure). It tells who it is with INNER_HERE. 0 or -errno. */
int child_adopt(struct broker *broker, enum role role, int socket, struct child **ret_child);

/* Sends to the child without ever blocking; one that does not take it is killed. 0 or -errno. */
int child_send(struct child *child, const struct inner_message *message, const void *body,
	const int *fds, size_t n_fds);

/* Sends SIGKILL, once. The end is told by on_exit as ever. */
void child_kill(struct child *child);

/* Forgets and frees the child; it is not killed. Its socket closes, which ends a healthy one. */
void child_free(struct child *child);

/* Takes what the child has said by now. */
void child_hear(struct child *child);

/* Takes what jobs and workers have said by now: a caller that has their answer may ask about it
 * before the loop comes to their sockets. */
void child_hear_all(struct broker *broker);

/* on_message of children that have nothing to say, as it is at first: ends them. */
void child_unasked(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds);

/* on_exit of children that nobody owns. */
void child_drop(struct child *child);
