/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lanes (agent/lane.h): the broker finds a process for each, and takes part again only where a
 * request is slow or cancelled, or the process ends. What a request may do is checked by the
 * process, against the verdicts that the broker gave it with the lane. Where there are too many, a
 * process that is between two requests leaves its lane for one that waits.
 */
#pragma once

#include "agent/broker/broker.h"

struct session;

struct lane {
	struct list_node node; /* broker->lanes, oldest first */
	struct broker *broker;
	struct session *session; /* NULL: the connection is gone */
	struct child *child;     /* NULL while it waits for one */
	uint64_t number;         /* the session's */
	enum method rights;      /* the row whose rights its process has */
	int fd;                  /* owned while it waits; the far end */
	uint64_t slow; /* number of the request that the broker keeps the time of; 0: none */
	uint32_t why;  /* enum ended_why, once its process was killed, or could not be started */
	bool yields;   /* its process was asked to leave */
	bool left;     /* ... and has, or for other reasons */
	struct loop_timer timer;
};

/* A session's INNER_LANE. Takes the descriptor it keeps out of fds. */
void lane_open(struct session *session, const struct inner_message *message, int fds[INNER_FDS_MAX],
	size_t n_fds);

/* A session's INNER_SLOW. An unknown lane is ignored: it may have ended meanwhile. */
void lane_slow(struct session *session, const struct inner_message *message);

/* A session's INNER_CANCEL, of a lane's request; the same. */
void lane_cancel(struct session *session, const struct inner_message *message);

/* The session is gone: what still runs is ended soon. */
void lane_session_gone(struct session *session);

/* How many requests are known to run in lanes. */
size_t lane_count_slow(const struct broker *broker);
