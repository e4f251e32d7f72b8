/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/stop.h"

#include <sys/socket.h>

#include "agent/broker/call.h"
#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/job.h"
#include "agent/broker/peer.h"
#include "agent/broker/ready.h"
#include "agent/broker/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define STOP_MS 2000 /* for goodbyes and for changes under way */
#define JOBS_MS 500  /* for programs to be ended */
#define REAP_MS 500  /* for killed processes to be gone */

static void on_late(struct loop_timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, stop_timer);

	log_info("stopping with %zu callers and %zu requests left", broker->sessions_n,
		broker->calls_n);
	loop_stop(&broker->loop, 0);
}

/* A change whose caller has left is still let end: half a mount helps nobody. */
static bool is_changing(const struct broker *broker)
{
	LIST_EACH(&broker->calls, node)
	{
		const struct call *call = container_of(node, struct call, node);

		if (method_rows[call->method].flags & MUTATING)
			return true;
	}
	return false;
}

void stop_check(struct broker *broker)
{
	/* Armed: the loop is the one that waits for just this. */
	if (broker->stop_timer.loop && broker->sessions_n == 0 && !is_changing(broker) &&
		broker->freeze.lease == 0)
		loop_stop(&broker->loop, 0);
}

void stop_begin(struct broker *broker)
{
	if (broker->stopping)
		return;
	log_info("stopping");
	broker->stopping = true;
	peer_stop(broker);
	ready_stop(broker);
	session_stop_all(broker);
	freeze_thaw(broker, THAW_AGENT_STOPPED);
	broker->stop_timer.fn = on_late;
	loop_timer_set(
		&broker->loop, &broker->stop_timer, monotonic_ns() + STOP_MS * NSEC_PER_MSEC);
	stop_check(broker);
}

/* Those that look after programs end them first, as it was asked for. */
static void end_jobs(struct broker *broker)
{
	uint64_t until = monotonic_ns() + JOBS_MS * NSEC_PER_MSEC;

	LIST_EACH(&broker->children, node)
	{
		const struct child *child = container_of(node, struct child, node);

		if (child->role == ROLE_JOB)
			(void)shutdown(child->socket, SHUT_RDWR);
	}
	while (job_any_lives(broker) && monotonic_ns() < until)
		(void)loop_once(&broker->loop, 10);
}

void stop_end(struct broker *broker)
{
	uint64_t until = monotonic_ns() + REAP_MS * NSEC_PER_MSEC;

	broker->stopping = true;
	loop_timer_del(&broker->stop_timer);
	broker->loop.stop = false;
	end_jobs(broker);
	LIST_EACH(&broker->children, node)
	child_kill(container_of(node, struct child, node));
	while (!list_empty(&broker->children) && monotonic_ns() < until)
		(void)loop_once(&broker->loop, 10);
}
