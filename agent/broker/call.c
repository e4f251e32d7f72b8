/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/broker/call_run.h"
#include "agent/broker/channel.h"
#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/job.h"
#include "agent/broker/session.h"
#include "agent/broker/spare.h"
#include "agent/broker/stop.h"
#include "agent/broker/stuck.h"
#include "agent/broker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define SETTLE_MS 2000                      /* to look up what became of a killed change */
#define CALLS_MAX ((size_t)4 * WORKERS_MAX) /* with those that are answered */
#define PLACE_MS  100                       /* for a place, before a call is refused */

static void on_timer(struct loop_timer *timer);
static void on_room(struct loop_timer *timer);

/* There may be room for a call that waits; looked at from the loop, since it may fail in turn. */
static void have_room(struct broker *broker)
{
	broker->calls_room.fn = on_room;
	loop_timer_set(&broker->loop, &broker->calls_room, 0);
}

static void call_free(struct call *call)
{
	struct broker *broker = call->broker;

	freeze_call_over(call);
	loop_timer_del(&call->timer);
	list_remove(&call->node);
	broker->calls_n--;
	if (broker->calls_n == 0)
		spare_refill(broker);
	(void)fd_close(call->body);
	(void)fd_close(call->reply);
	(void)fd_close(call->verdicts_fd);
	(void)fd_close(call->vsh);
	free(call);
	have_room(broker);
	stop_check(broker);
}

/* Tells a session that no whole answer comes through the pipe. */
static void tell_ended(struct session *session, uint64_t id, enum method method, uint32_t why)
{
	struct inner_message message = {
		.kind = INNER_ENDED, .id = id, .method = (uint16_t)method, .arg = why};

	if (session)
		(void)child_send(session->child, &message, NULL, NULL, 0);
}

static void call_fail(struct call *call, uint32_t why)
{
	tell_ended(call->session, call->id, call->method, why);
	call_free(call);
}

uint64_t call_clamp_deadline(enum method method, uint64_t asked)
{
	uint64_t most = monotonic_ns() + method_rows[method].max_ms * NSEC_PER_MSEC;

	return asked < most ? asked : most;
}

/* What a call that could not be given to a process failed by. */
static uint32_t why_not_run(int negative_errno)
{
	if (negative_errno == -ESRCH)
		return ENDED_NO_JOB;
	if (negative_errno == -ENOTCONN)
		return ENDED_JOB_OVER;
	return negative_errno == -EUSERS ? ENDED_BUSY : ENDED_NO_WORKER;
}

/* Takes its place among those that run; the rest is the caller's to fill in. */
static struct call *call_new(struct broker *broker, const struct identity *identity,
	enum method method, uint64_t deadline)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	*call = (struct call){.broker = broker,
		.number = ++broker->last_call,
		.identity = *identity,
		.method = method,
		.deadline = deadline,
		.reply = -EBADF,
		.body = -EBADF,
		.vsh = -EBADF,
		.verdicts_fd = -EBADF,
		.timer.fn = on_timer};
	list_append(&broker->calls, &call->node);
	broker->calls_n++;
	return call;
}

/* Whether one more can run: of a session, or of nobody (NULL). One that is answered is over to its
 * caller, whose next one may come before its process has ended. */
static bool has_place(const struct broker *broker, const struct session *session)
{
	size_t all = 0, same = 0;

	LIST_EACH(&broker->calls, node)
	{
		const struct call *call = container_of(node, struct call, node);

		if (call->answered || call->waiting)
			continue;
		all++;
		same += session && call->session == session;
	}
	return all < WORKERS_MAX && same < WORKERS_EACH_MAX;
}

/* Who has an answer may ask again before the process that gave it has said that it is done. */
static void wait_for_place(struct call *call)
{
	uint64_t patience = monotonic_ns() + PLACE_MS * NSEC_PER_MSEC;

	call->waiting = true;
	loop_timer_set(&call->broker->loop, &call->timer,
		patience < call->deadline ? patience : call->deadline);
}

static void on_room(struct loop_timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, calls_room);

	LIST_EACH(&broker->calls, node)
	{
		struct call *call = container_of(node, struct call, node);
		int r;

		if (!call->waiting || !has_place(broker, call->session))
			continue;
		call->waiting = false;
		r = call_run(call);
		if (r < 0)
			call_fail(call, why_not_run(r));
	}
}

static uint32_t check_start(const struct session *session, const struct inner_message *message)
{
	const struct broker *broker = session->broker;

	if (!session->verdicts.method[message->method].allowed)
		return ENDED_DENIED;
	if (broker->calls_n >= CALLS_MAX)
		return ENDED_BUSY;
	if (stuck_many(broker) && !(method_rows[message->method].flags & WHEN_STUCK))
		return ENDED_HUNG;
	if (freeze_forbids(broker, (enum method)message->method))
		return ENDED_FROZEN;
	return 0;
}

void call_start(struct session *session, const struct inner_message *message,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	enum method method = (enum method)message->method;
	struct broker *broker = session->broker;
	struct call *call;
	uint32_t refused;
	bool place;
	int r;

	if (message->method >= METHOD_COUNT || method_rows[message->method].where < READER ||
		row_has_lane(method) || n_fds < 1 || n_fds > 2) {
		log_warning("session (pid %d) asked for what is no call", session->child->pid);
		child_kill(session->child);
		return;
	}
	refused = check_start(session, message);
	place = has_place(broker, session);
	call = refused ? NULL
		       : call_new(broker, &session->identity, method,
				 call_clamp_deadline(method, message->deadline));
	if (!call) {
		tell_ended(session, message->id, method, refused ? refused : ENDED_NO_WORKER);
		return;
	}
	call->session = session;
	call->id = message->id;
	call->answer_id = message->aux;
	call->job = message->job;
	call->max_frame = message->arg;
	call->reply = take_fd(&fds[0]);
	call->body = take_fd(&fds[1]);
	call->verdicts_fd = fcntl(session->verdicts_fd, F_DUPFD_CLOEXEC, 3);
	r = call->verdicts_fd < 0 ? -EMFILE : 0;
	if (r == 0 && !place)
		wait_for_place(call);
	else if (r == 0)
		r = call_run(call);
	if (r < 0)
		call_fail(call, why_not_run(r));
}

/* Nobody holds all places by connections whose requests do not come. */
static size_t vsh_calls_of(const struct broker *broker, const struct identity *identity)
{
	size_t n = 0;

	LIST_EACH(&broker->calls, node)
	{
		const struct call *call = container_of(node, struct call, node);

		n += !call->session && identity_equal(&call->identity, identity);
	}
	return n;
}

int call_start_vsh(struct broker *broker, int socket, const struct identity *identity)
{
	struct call *call;
	int r;

	if (!has_place(broker, NULL) || stuck_many(broker) ||
		freeze_forbids(broker, METHOD_exec_start) ||
		vsh_calls_of(broker, identity) >= WORKERS_EACH_MAX)
		return -EUSERS;
	call = call_new(broker, identity, METHOD_exec_start,
		monotonic_ns() + (HELLO_DEADLINE_MS + method_rows[METHOD_exec_start].default_ms) *
					 NSEC_PER_MSEC);
	if (!call)
		return -ENOMEM;
	call->vsh = fcntl(socket, F_DUPFD_CLOEXEC, 3);
	r = call->vsh < 0 ? -errno : call_run(call);
	if (r < 0)
		call_free(call);
	return r;
}

/* The process is gone, or given up, without a whole answer. */
static void settle_or_fail(struct call *call)
{
	freeze_worker_gone(call);
	if (!call->changing)
		call->why |= ENDED_NOT_DONE;
	if (!method_rows[call->method].settles || call->settling || !call->changing) {
		call_fail(call, call->why);
		return;
	}
	call->settling = true;
	call->deadline = monotonic_ns() + SETTLE_MS * NSEC_PER_MSEC;
	if (call_run(call) < 0)
		call_fail(call, call->why);
}

static void kill_for(struct call *call, uint32_t why)
{
	if (call->why == 0)
		call->why = why;
	if (call->child->role == ROLE_JOB)
		stuck_follow_child_of(call->child);
	child_kill(call->child);
	loop_timer_set(
		&call->broker->loop, &call->timer, monotonic_ns() + KILL_GRACE_MS * NSEC_PER_MSEC);
}

static struct call *find(const struct broker *broker, uint64_t number)
{
	LIST_EACH(&broker->calls, node)
	{
		struct call *call = container_of(node, struct call, node);

		if (call->number == number)
			return call;
	}
	return NULL;
}

/* Takes what its process has said by now: an answer may be on its way that nobody should be killed
 * for. The call, or NULL when it is over, or about to be. */
static struct call *hear(struct call *call)
{
	struct broker *broker = call->broker;
	uint64_t number = call->number;

	child_hear_all(broker);
	call = find(broker, number);
	return call && !call->answered ? call : NULL;
}

/* The program that was asked for runs, and the process that looks after it must. */
static bool has_started(const struct call *call)
{
	const struct job *job = call->child ? call->child->job : NULL;

	return where_of(call) == NEW_JOB && job && job->started;
}

/* Its caller is told by the deadline that they do not know, and finds the program in exec.list. */
static void give_up_started(struct call *call)
{
	struct child *child = take_ptr(call->child);

	channel_keep(child, call->number, 0);
	job_settle(child);
	call_fail(call, ENDED_DEADLINE);
}

static void on_timer(struct loop_timer *timer)
{
	struct call *call = container_of(timer, struct call, timer);

	if (call->waiting) {
		call_fail(call, ENDED_BUSY);
		return;
	}
	call = hear(call);
	if (!call)
		return;
	if (where_of(call) == JOB) {
		/* The process is the program's, which is not to suffer for it. */
		call_fail(call, ENDED_DEADLINE);
		return;
	}
	if (call->child->killed_ns == 0 && has_started(call)) {
		give_up_started(call);
		return;
	}
	if (call->child->killed_ns == 0) {
		kill_for(call, ENDED_DEADLINE);
		return;
	}
	if (call->child->pidfd < 0) {
		/* It never told who it is; its connection's end is its own. Who it was to be forked
		 * of does not get to it. */
		if (call->child->role == ROLE_WORKER)
			spare_renew_worker(call->broker);
		job_child_gone(call->child);
		child_free(take_ptr(call->child));
		settle_or_fail(call);
		return;
	}
	/* Killed and not gone: it hangs in the kernel. */
	call->changing |= call->child->changing;
	job_child_gone(call->child);
	stuck_add(call->child);
	call->child = NULL;
	call->why |= ENDED_STUCK;
	settle_or_fail(call);
}

void call_worker_exit(struct child *child)
{
	struct call *call = child->owner;
	bool answered = call->answered;

	call->changing |= child->changing;
	job_child_gone(child);
	child_free(child);
	call->child = NULL;
	if (answered) {
		call_free(call);
		return;
	}
	if (call->why == 0)
		call->why = ENDED_CRASHED;
	settle_or_fail(call);
}

void call_worker_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct call *call = child->owner;

	switch (message->kind) {
	case INNER_DONE:
		call->answered = true;
		have_room(child->broker);
		loop_timer_del(&call->timer);
		if (child->role == ROLE_WORKER && message->arg == 0)
			break; /* its exit ends the call */
		if (child->role == ROLE_WORKER) {
			channel_release(child);
			call_free(call);
			break;
		}
		if (child->role == ROLE_JOB) {
			channel_keep(child, call->number, 0);
			job_settle(child);
			call_free(call);
			break;
		}
		spare_return_reader(child);
		call_free(call);
		break;
	case INNER_FREEZING:
		freeze_told(call, message->arg);
		break;
	case INNER_HUNG:
		stuck_add_child_of(child, (pid_t)message->aux, message->arg);
		break;
	default:
		if (worker_serve(child, message, body, fds, n_fds))
			break;
		log_warning("%s (pid %d) sent a message of kind %u", role_name(child->role),
			child->pid, message->kind);
		kill_for(call, ENDED_CRASHED);
	}
}

void call_done(struct child *child, const struct inner_message *message)
{
	channel_keep(child, message->aux, 0);
	LIST_EACH(&child->broker->calls, node)
	{
		struct call *call = container_of(node, struct call, node);

		if (call->child == child && call->number == message->aux) {
			call_free(call);
			return;
		}
	}
}

void call_child_gone(struct child *child)
{
	LIST_EACH(&child->broker->calls, node)
	{
		struct call *call = container_of(node, struct call, node);

		if (call->child == child)
			call_fail(call, ENDED_JOB_OVER);
	}
}

void call_cancel(struct session *session, uint64_t id)
{
	child_hear_all(session->broker);
	LIST_EACH(&session->broker->calls, node)
	{
		struct call *call = container_of(node, struct call, node);

		if (call->session != session || call->id != id)
			continue;
		if (call->waiting)
			call_fail(call, ENDED_CANCELLED);
		else if (call->child && !call->answered && !call->settling && call->why == 0 &&
			 where_of(call) != JOB && !has_started(call))
			kill_for(call, ENDED_CANCELLED);
	}
}

void call_end_all_of(struct session *session)
{
	LIST_EACH(&session->broker->calls, node)
	{
		struct call *call = container_of(node, struct call, node);

		if (call->session != session)
			continue;
		call->session = NULL;
		if (call->waiting)
			call_free(call);
		else if (!(method_rows[call->method].flags & MUTATING) && call->why == 0 &&
			 call->child && where_of(call) != JOB)
			kill_for(call, ENDED_CANCELLED);
	}
}
