/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that run in a process of their own, or that of a job. The broker passes on the sealed
 * body and the reply pipe and reads neither; it keeps the time, kills, and has the outcome of a
 * killed change looked up.
 */
#pragma once

#include "agent/broker/broker.h"

struct session;

struct call {
	struct list_node node;
	struct broker *broker;
	struct session *session; /* NULL once the connection is gone: the call goes on to its end */
	struct child *child;     /* NULL while it waits, and once it is on the stuck list */
	uint64_t id;             /* the session's number of it */
	uint64_t answer_id;      /* the caller's, for the answer */
	uint64_t number;         /* the broker's, never used twice */
	struct identity identity; /* the caller */
	uint64_t job;             /* for a row of JOB: the job's number */
	enum method method;
	uint64_t deadline;
	uint64_t max_frame;
	int reply, body; /* owned, kept for rows with a settle function; body -EBADF: empty */
	int vsh;         /* owned; the client of vsh whose own connection brings the request, and
			  * gets the answer; -EBADF: none, or it was handed over */
	int verdicts_fd; /* owned */
	bool waiting;    /* for a place; nothing has begun */
	bool changing;   /* a worker that is gone had begun to change something */
	bool answered;   /* the worker said that the whole answer is written */
	bool settling;
	uint32_t why; /* enum ended_why, once it was killed */
	struct loop_timer timer;
};

/* Where its row says that it runs. */
static inline enum where where_of(const struct call *call)
{
	return method_rows[call->method].where;
}

/* Times asked for by a session (CLOCK_MONOTONIC, ns) are held to the row's. */
uint64_t call_clamp_deadline(enum method method, uint64_t asked);

/* A session's INNER_CALL. Takes the descriptors it keeps out of fds. */
void call_start(struct session *session, const struct inner_message *message,
	int fds[INNER_FDS_MAX], size_t n_fds);

/* exec.start for a client of vsh, whose socket is borrowed. 0; -EUSERS when too many run; or
 * -errno. */
int call_start_vsh(struct broker *broker, int socket, const struct identity *identity);

/* INNER_DONE of a process that serves several calls, one after another. */
void call_done(struct child *child, const struct inner_message *message);

/* That process is gone: the calls that were given to it end without an answer. */
void call_child_gone(struct child *child);

/* A session's INNER_CANCEL; an unknown id is ignored. */
void call_cancel(struct session *session, uint64_t id);

/* The session is gone: calls that only read are ended, changes go on to their end unheard. */
void call_end_all_of(struct session *session);
