/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/call_run.h"

#include <errno.h>
#include <string.h>

#include "agent/broker/channel.h"
#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/job.h"
#include "agent/broker/spare.h"
#include "proto/cleanup.h"
#include "proto/log.h"

enum role call_role(const struct call *call)
{
	if (where_of(call) == NEW_JOB)
		return ROLE_JOB;
	return where_of(call) == WORKER && !call->settling ? ROLE_WORKER : ROLE_READER;
}

/* A spare process, or that of its job. 0 or -errno. */
static int find_child(struct call *call)
{
	struct job *job;
	int r;

	if (where_of(call) == JOB) {
		child_hear_all(call->broker);
		job = job_find(call->broker, &call->identity, call->job);
		call->child = job ? job->child : NULL;
		if (!job)
			return -ESRCH;
		return call->child ? 0 : -ENOTCONN;
	}
	r = spare_take(call->broker, call_role(call), &call->child);
	if (r < 0)
		return r;
	call->child->owner = call;
	call->child->method = call->method;
	call->child->on_exit = call_worker_exit;
	call->child->on_message = call_worker_message;
	return 0;
}

/* What the row needs besides the request: grants, and the place of a new job. 0 or -errno. */
static int add_facts(struct call *call, struct worker_facts *facts)
{
	struct job *job = call->child->job;
	int r = 0;

	if (where_of(call) == NEW_JOB)
		r = job_open(call->child, &call->identity, call->session, &job);
	if (r == 0 && job)
		facts->job = job->facts.number;
	for (unsigned int i = 0;
		r == 0 && i < GRANTS_MAX && method_rows[call->method].flags & GRANTS; i++)
		r = channel_grant(call->child, &call->identity, call->method, facts->job,
			call->number, i, &facts->grants[i]);
	if (call->vsh >= 0)
		channel_opened(call->child, call->number);
	return r;
}

/* The process gets nothing to do: a fresh one ends, one that has a job goes on. */
static void give_back(struct call *call)
{
	struct child *child = take_ptr(call->child);

	channel_keep(child, call->number, 0);
	if (where_of(call) == JOB)
		return;
	child->owner = NULL;
	job_settle(child);
	child_kill(child);
}

int call_run(struct call *call)
{
	struct broker *broker = call->broker;
	struct worker_facts facts = broker->worker_facts;
	struct inner_message message = {
		.kind = call->settling ? INNER_SETTLE : INNER_RUN,
		.method = (uint16_t)call->method,
		.id = call->answer_id,
		.deadline = call->deadline,
		.arg = call->max_frame,
		.aux = call->settling ? call->why : call->number,
		.body_len = sizeof(facts),
	};
	int fds[] = {call->reply, call->verdicts_fd, broker->sources.quarantine_ro, call->body};
	size_t n_fds = call->body < 0 ? 3 : 4;
	int r = find_child(call);

	if (call->vsh >= 0) {
		message.kind = INNER_VSH;
		fds[0] = call->vsh;
		fds[1] = broker->sources.quarantine_ro;
		n_fds = 2;
	}
	if (r < 0)
		return r;
	r = add_facts(call, &facts);
	if (r < 0) {
		give_back(call);
		return r;
	}
	r = child_send(call->child, &message, &facts, fds, n_fds);
	explicit_bzero(&facts, sizeof(facts));
	if (r < 0)
		child_kill(call->child);
	if (!method_rows[call->method].settles || call->settling) {
		/* Now only the worker holds the pipe: its end is seen by the session. */
		call->body = fd_close(call->body);
		call->reply = fd_close(call->reply);
		call->vsh = fd_close(call->vsh);
	}
	loop_timer_set(&broker->loop, &call->timer, call->deadline);
	return 0;
}
