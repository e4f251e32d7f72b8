/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/spare.h"

#include <errno.h>
#include <sys/socket.h>

#include "agent/broker/child.h"
#include "agent/broker/job.h"
#include "agent/broker/session.h"
#include "agent/broker/zygote.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define REFILL_MS      20    /* after the last request, and between two starts */
#define REFILL_MOST_MS 1000  /* after a spare was taken, even while requests run */
#define REFILL_FAIL_MS 1000  /* after one could not be started */
#define READER_IDLE_MS 10000 /* a reader that nobody needed for so long goes */

/* Where a ready process for the role stands; NULL: there is none. */
static struct child **find_ready(struct broker *broker, enum role role)
{
	if (role == ROLE_SESSION)
		return broker->spare_session ? &broker->spare_session : NULL;
	if (role == ROLE_WORKER || role == ROLE_JOB)
		return NULL; /* always forked anew */
	for (size_t i = 0; i < IDLE_READERS; i++)
		if (broker->idle_reader[i])
			return &broker->idle_reader[i];
	return NULL;
}

int spare_take(struct broker *broker, enum role role, struct child **ret_child)
{
	struct child **ready = find_ready(broker, role);
	int r = 0;

	if (role == ROLE_SESSION)
		broker->job_zygote_failed = false;
	if (ready)
		*ret_child = take_ptr(*ready);
	else if (role == ROLE_WORKER || role == ROLE_JOB)
		r = zygote_fork(broker, role, ret_child);
	else
		r = child_start(broker, role, ret_child);
	if (r == 0)
		(*ret_child)->spare = false;
	spare_refill(broker);
	return r;
}

static bool may_any(const struct session *session, enum where where)
{
	for (int i = 0; i < METHOD_COUNT; i++)
		if (method_rows[i].where == where && session->verdicts.method[i].allowed)
			return true;
	return false;
}

/* Somebody is connected who may use such a process. A program that only keeps a property or gives
 * signs of life may be connected for ever. */
static bool anybody_may(const struct broker *broker, enum where where)
{
	LIST_EACH(&broker->sessions, node)
	if (may_any(container_of(node, struct session, node), where))
		return true;
	return false;
}

/* What is started next; false: nothing is missing. */
static bool find_missing(const struct broker *broker, enum role *ret_role)
{
	*ret_role = ROLE_SESSION;
	if (!broker->spare_session)
		return true;
	*ret_role = ROLE_WORKER;
	if (!broker->worker_zygote && anybody_may(broker, WORKER))
		return true;
	*ret_role = ROLE_JOB;
	return !broker->job_zygote && !broker->job_zygote_failed && anybody_may(broker, NEW_JOB);
}

static void on_refill(struct loop_timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, refill);
	uint64_t now = monotonic_ns();
	enum role role;
	int r;

	if (!find_missing(broker, &role) || broker->stopping) {
		broker->refill_by = 0;
		return;
	}
	if (broker->calls_n > 0 && now < broker->refill_by) {
		loop_timer_set(&broker->loop, timer, broker->refill_by);
		return;
	}
	r = role == ROLE_SESSION ? child_start(broker, role, &broker->spare_session)
				 : zygote_start(broker, role);
	broker->job_zygote_failed |= role == ROLE_JOB && r < 0;
	broker->refill_from = now + (r == 0 ? REFILL_MS : REFILL_FAIL_MS) * NSEC_PER_MSEC;
	broker->refill_by = 0;
	spare_refill(broker);
}

void spare_refill(struct broker *broker)
{
	uint64_t now = monotonic_ns(), at = now + REFILL_MS * NSEC_PER_MSEC;
	enum role role;

	if (!find_missing(broker, &role))
		return;
	/* Starting a process takes more of the processor than most requests, so it comes after
	 * them; those that come without a pause do not put it off for ever. */
	if (broker->refill_by == 0)
		broker->refill_by = now + REFILL_MOST_MS * NSEC_PER_MSEC;
	if (at > broker->refill_by)
		at = broker->refill_by;
	if (at < broker->refill_from)
		at = broker->refill_from;
	broker->refill.fn = on_refill;
	loop_timer_set(&broker->loop, &broker->refill, at);
}

/* A closed socket tells a healthy child to end; its exit then frees it. */
static void let_go(struct child *child)
{
	child->on_exit = child_drop;
	(void)shutdown(child->socket, SHUT_RDWR);
}

static void let_readers_go(struct broker *broker)
{
	for (size_t i = 0; i < IDLE_READERS; i++)
		if (broker->idle_reader[i])
			let_go(take_ptr(broker->idle_reader[i]));
}

static void on_reader_timeout(struct loop_timer *timer)
{
	let_readers_go(container_of(timer, struct broker, reader_timeout));
}

void spare_return_reader(struct child *child)
{
	struct broker *broker = child->broker;
	struct child **place = NULL;

	child->owner = NULL;
	child->method = METHOD_COUNT;
	child->on_exit = child_drop;
	child->on_message = child_unasked;
	for (size_t i = 0; i < IDLE_READERS && !place; i++)
		if (!broker->idle_reader[i])
			place = &broker->idle_reader[i];
	/* One that was killed when its answer was on its way serves nobody any more. */
	if (!place || broker->stopping || child->killed_ns != 0) {
		let_go(child);
		return;
	}
	child->spare = true;
	*place = child;
	broker->reader_timeout.fn = on_reader_timeout;
	loop_timer_set(&broker->loop, &broker->reader_timeout,
		monotonic_ns() + READER_IDLE_MS * NSEC_PER_MSEC);
}

void spare_renew_worker(struct broker *broker)
{
	if (broker->worker_zygote)
		let_go(take_ptr(broker->worker_zygote));
	spare_refill(broker);
}

void spare_trim(struct broker *broker)
{
	if (broker->worker_zygote && !anybody_may(broker, WORKER))
		let_go(take_ptr(broker->worker_zygote));
	if (broker->job_zygote && !job_any_lives(broker) && !anybody_may(broker, NEW_JOB))
		let_go(take_ptr(broker->job_zygote));
	if (broker->sessions_n == 0)
		let_readers_go(broker);
}
