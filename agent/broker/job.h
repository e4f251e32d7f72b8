/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs: programs that run for a caller, each looked after by a process of its own (postern-job).
 * The broker keeps what that process tells: how the program was started, and how it ended. Records
 * of ended jobs are kept until they are forgotten, or newer ones need the room.
 */
#pragma once

#include "agent/broker/broker.h"

struct session;

struct job {
	struct list_node node; /* broker->jobs, in the order of their start */
	struct broker *broker;
	struct child *child;      /* its process; NULL: gone */
	struct identity identity; /* whose it is */
	struct session *starter;  /* whose request started it; NULL: none, or gone */
	bool started;             /* facts has what the process told */
	struct job_facts facts;
	struct list waiters; /* struct waiter */
};

/* Starts the process that those for jobs are forked of: in a unit of its own where process 1 starts
 * such, else as a child of ours. 0 or -errno, with a line in the log. */
int job_zygote_start(struct broker *broker, struct child **ret_child);

/* A place for a job that the child is about to start, for a session or a client without one (NULL).
 * 0; -EUSERS when too many run; -ENOMEM. */
int job_open(struct child *child, const struct identity *identity, struct session *starter,
	struct job **ret_job);

/* INNER_JOB: what the child says of its program. */
void job_told(struct child *child, const void *body, size_t len);

/* The child is gone, and with it what it knew of its program. */
void job_child_gone(struct child *child);

/* The call that was to start it has ended: the child goes on with the job, or, where there is no
 * program, without one to its end. */
void job_settle(struct child *child);

/* The job of this number that the identity owns and whose process lives; NULL: there is none. */
struct job *job_find(const struct broker *broker, const struct identity *identity, uint64_t number);

/* The session wants to be told of the job's end, now or then. */
void job_wait(struct session *session, uint64_t serial, uint64_t number);

/* It does not, any more; an unknown serial is ignored. */
void job_unwait(struct session *session, uint64_t serial);

/* Drops the record. 0; -ENOENT; -EBUSY while it runs. */
int job_forget(struct broker *broker, const struct identity *identity, uint64_t number);

/* Those of an identity into facts[0..JOBS_MAX); how many. */
size_t job_list(const struct broker *broker, const struct identity *identity,
	struct job_facts facts[JOBS_MAX]);

/* True while a job has a process. */
bool job_any_lives(const struct broker *broker);

/* The session is gone: it waits for nothing, and its jobs are told. */
void job_session_gone(struct session *session);
