/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/broker/ask.h"
#include "agent/broker/call.h"
#include "agent/broker/channel.h"
#include "agent/broker/child.h"
#include "agent/broker/session.h"
#include "agent/broker/spare.h"
#include "agent/broker/unit_socket.h"
#include "agent/broker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define JOB_SOCKET "/run/postern/job.sock"

struct waiter {
	struct list_node node;
	struct session *session;
	uint64_t serial;
};

static bool runs(const struct job *job)
{
	return !job->started || job->facts.state == JOB_RUNNING;
}

/* A process that has nothing left to do without its record ends. */
static void job_free(struct job *job)
{
	struct inner_message message = {.kind = INNER_FORGET};

	LIST_EACH(&job->waiters, node)
	{
		list_remove(node);
		free(container_of(node, struct waiter, node));
	}
	if (job->child) {
		job->child->job = NULL;
		(void)child_send(job->child, &message, NULL, NULL, 0);
	}
	list_remove(&job->node);
	job->broker->jobs_n--;
	free(job);
}

/* A child of ours has our own limits. Where these keep programs from the rights of their user, as
 * those of the shipped unit do, it is better not started. */
static int start_here(struct broker *broker, int why_no_unit, struct child **ret_child)
{
	static bool told;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0)
		return child_start(broker, ROLE_JOB, ret_child);
	if (told)
		return why_no_unit;
	told = true;
	log_error("no program can be run for a caller: %s: %s (systemctl start postern-job.socket)",
		JOB_SOCKET, strerror(-why_no_unit));
	return why_no_unit;
}

int job_zygote_start(struct broker *broker, struct child **ret_child)
{
	int fd = -EBADF, r = unit_connect(JOB_SOCKET, &fd);

	return r < 0 ? start_here(broker, r, ret_child)
		     : child_adopt(broker, ROLE_JOB, fd, ret_child);
}

/* The oldest record that makes room: of the same identity, if it has one, so that nobody's are lost
 * to another who starts many. */
static struct job *oldest_record(const struct broker *broker, const struct identity *identity)
{
	struct job *oldest = NULL;

	LIST_EACH(&broker->jobs, node)
	{
		struct job *job = container_of(node, struct job, node);

		if (runs(job))
			continue;
		if (identity_equal(&job->identity, identity))
			return job;
		if (!oldest)
			oldest = job;
	}
	return oldest;
}

static bool make_room(struct broker *broker, const struct identity *identity)
{
	size_t running = 0, same = 0;
	struct job *oldest;

	LIST_EACH(&broker->jobs, node)
	{
		const struct job *job = container_of(node, struct job, node);

		running += runs(job);
		same += runs(job) && identity_equal(&job->identity, identity);
	}
	if (running >= JOBS_RUNNING_MAX || same >= JOBS_RUNNING_EACH)
		return false;
	if (broker->jobs_n < JOBS_MAX)
		return true;
	oldest = oldest_record(broker, identity);
	if (oldest)
		job_free(oldest);
	return oldest != NULL;
}

int job_open(struct child *child, const struct identity *identity, struct session *starter,
	struct job **ret_job)
{
	struct broker *broker = child->broker;
	struct job *job;

	if (!make_room(broker, identity))
		return -EUSERS;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->broker = broker;
	job->child = child;
	job->identity = *identity;
	job->starter = starter;
	job->facts.number = ++broker->last_job;
	list_init(&job->waiters);
	list_append(&broker->jobs, &job->node);
	broker->jobs_n++;
	child->job = job;
	*ret_job = job;
	return 0;
}

static void tell_waiters(struct job *job)
{
	LIST_EACH(&job->waiters, node)
	{
		struct waiter *waiter = container_of(node, struct waiter, node);

		ask_answer(waiter->session, waiter->serial, METHOD_exec_wait, 0, &job->facts,
			sizeof(job->facts));
		list_remove(&waiter->node);
		free(waiter);
	}
}

void job_told(struct child *child, const void *body, size_t len)
{
	struct job *job = child->job;
	uint64_t number;

	if (!job || len != sizeof(job->facts) || !runs(job))
		return;
	number = job->facts.number;
	memcpy(&job->facts, body, sizeof(job->facts));
	job->facts.number = number;
	job->started = true;
	if (job->facts.argv_len > sizeof(job->facts.argv))
		job->facts.argv_len = 0;
	if (!runs(job))
		tell_waiters(job);
}

void job_child_gone(struct child *child)
{
	struct job *job = child->job;

	channel_drop_all(child);
	if (!job)
		return;
	job->child = NULL;
	child->job = NULL;
	if (!job->started) {
		job_free(job);
	} else if (runs(job)) {
		job->facts.state = JOB_LOST;
		job->facts.ended_ns = clock_ns(CLOCK_REALTIME);
		tell_waiters(job);
	}
}

static void on_exit_(struct child *child)
{
	struct broker *broker = child->broker;

	call_child_gone(child);
	job_child_gone(child);
	child_free(child);
	spare_trim(broker);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	if (message->kind == INNER_DONE) {
		call_done(child, message);
	} else if (!worker_serve(child, message, body, fds, n_fds)) {
		log_warning("%s (pid %d) sent a message of kind %u", role_name(child->role),
			child->pid, message->kind);
		child_kill(child);
	}
}

void job_settle(struct child *child)
{
	struct job *job = child->job;

	child->owner = NULL;
	child->on_exit = on_exit_;
	child->on_message = on_message;
	if (job && !job->started) {
		/* Its own end tells the process that there is nothing to look after. */
		child->job = NULL;
		job->child = NULL;
		job_free(job);
	}
}

struct job *job_find(const struct broker *broker, const struct identity *identity, uint64_t number)
{
	LIST_EACH(&broker->jobs, node)
	{
		struct job *job = container_of(node, struct job, node);

		if (job->facts.number == number && job->started &&
			identity_equal(&job->identity, identity))
			return job;
	}
	return NULL;
}

void job_unwait(struct session *session, uint64_t serial)
{
	LIST_EACH(&session->broker->jobs, at)
	LIST_EACH(&container_of(at, struct job, node)->waiters, node)
	{
		struct waiter *waiter = container_of(node, struct waiter, node);

		if (waiter->session != session || waiter->serial != serial)
			continue;
		list_remove(&waiter->node);
		free(waiter);
		return;
	}
}

/* A session of ours has no more of them than open requests. */
static bool may_wait(const struct session *session)
{
	size_t n = 0;

	LIST_EACH(&session->broker->jobs, at)
	LIST_EACH(&container_of(at, struct job, node)->waiters, node)
	n += container_of(node, struct waiter, node)->session == session;
	return n < OPEN_REQUESTS_MAX;
}

void job_wait(struct session *session, uint64_t serial, uint64_t number)
{
	struct job *job = job_find(session->broker, &session->identity, number);
	struct waiter *waiter;

	if (!job) {
		ask_answer(session, serial, METHOD_exec_wait, ENOENT, NULL, 0);
		return;
	}
	if (!runs(job)) {
		ask_answer(session, serial, METHOD_exec_wait, 0, &job->facts, sizeof(job->facts));
		return;
	}
	waiter = may_wait(session) ? calloc(1, sizeof(*waiter)) : NULL;
	if (!waiter) {
		ask_answer(session, serial, METHOD_exec_wait, ENOMEM, NULL, 0);
		return;
	}
	*waiter = (struct waiter){.session = session, .serial = serial};
	list_append(&job->waiters, &waiter->node);
}

int job_forget(struct broker *broker, const struct identity *identity, uint64_t number)
{
	struct job *job = job_find(broker, identity, number);

	if (!job)
		return -ENOENT;
	if (runs(job))
		return -EBUSY;
	job_free(job);
	return 0;
}

size_t job_list(const struct broker *broker, const struct identity *identity,
	struct job_facts facts[JOBS_MAX])
{
	size_t n = 0;

	LIST_EACH(&broker->jobs, node)
	{
		const struct job *job = container_of(node, struct job, node);

		if (!job->started || !identity_equal(&job->identity, identity))
			continue;
		facts[n] = job->facts;
		facts[n++].attached = job->child ? (uint8_t)channel_open_of(job->child) : 0;
	}
	return n;
}

bool job_any_lives(const struct broker *broker)
{
	LIST_EACH(&broker->jobs, node)
	if (container_of(node, struct job, node)->child)
		return true;
	return false;
}

void job_session_gone(struct session *session)
{
	struct inner_message message = {.kind = INNER_LEFT};

	LIST_EACH(&session->broker->jobs, at)
	{
		struct job *job = container_of(at, struct job, node);

		LIST_EACH(&job->waiters, node)
		{
			struct waiter *waiter = container_of(node, struct waiter, node);

			if (waiter->session != session)
				continue;
			list_remove(&waiter->node);
			free(waiter);
		}
		if (job->starter != session)
			continue;
		job->starter = NULL;
		if (job->child)
			(void)child_send(job->child, &message, NULL, NULL, 0);
	}
}
