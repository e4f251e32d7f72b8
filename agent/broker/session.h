/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection that has spoken, and the process that serves it. */
#pragma once

#include "agent/broker/broker.h"

struct session {
	struct list_node node;
	struct broker *broker;
	struct child *child;
	struct identity identity;
	struct verdicts verdicts;
	int verdicts_fd; /* owned; the same, sealed, for its processes */
	size_t lanes_n;
};

/* Hands the socket (owned, closed on failure) to a session process. */
void session_start(struct broker *broker, int fd, const struct identity *identity);

/* Tells every session to say goodbye. */
void session_stop_all(struct broker *broker);
