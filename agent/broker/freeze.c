/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/freeze.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/broker/call.h"
#include "agent/broker/child.h"
#include "agent/broker/chore.h"
#include "agent/broker/quarantine.h"
#include "agent/broker/session.h"
#include "agent/broker/spare.h"
#include "agent/broker/stop.h"
#include "agent/broker/zygote.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define AGAIN_MS 1000 /* after a thaw that did not do */

static void on_timer(struct loop_timer *timer)
{
	struct freeze *freeze = container_of(timer, struct freeze, timer);
	struct broker *broker = container_of(freeze, struct broker, freeze);

	freeze_thaw(broker, freeze->why ? freeze->why : THAW_LEASE_ENDED);
}

static void set_timer(struct broker *broker, uint64_t ms)
{
	broker->freeze.timer.fn = on_timer;
	loop_timer_set(&broker->loop, &broker->freeze.timer, monotonic_ns() + ms * NSEC_PER_MSEC);
}

void freeze_start(struct broker *broker)
{
	char record[sizeof(broker->config.run_dir) + 16];

	(void)snprintf(record, sizeof(record), "%s/frozen", broker->config.run_dir);
	if (access(record, F_OK) < 0)
		return;
	log_warning("an agent before this one left file systems frozen");
	broker->freeze.lease = UINT64_MAX;
	quarantine_publish(broker);
	freeze_thaw(broker, THAW_AGENT_STOPPED);
}

void freeze_told(struct call *call, uint64_t lease_ms)
{
	struct broker *broker = call->broker;
	struct freeze *freeze = &broker->freeze;

	if (call->method != METHOD_filesystems_freeze)
		return;
	if (lease_ms == 0) {
		freeze->lease = call->number;
		freeze->until_ns = 0;
		freeze->identity = call->identity;
		freeze->session = call->session;
		freeze->why = 0;
		quarantine_publish(broker);
		return;
	}
	if (freeze->lease != call->number || lease_ms > FREEZE_MOST_MS)
		return;
	/* The caller may have left meanwhile, or have cancelled it. */
	if (!call->session || call->why != 0) {
		freeze_thaw(broker, THAW_CALLER_GONE);
		return;
	}
	freeze->until_ns = monotonic_ns() + lease_ms * NSEC_PER_MSEC;
	set_timer(broker, lease_ms);
	quarantine_publish(broker);
}

static void dismiss(struct child **guard)
{
	struct inner_message message = {.kind = INNER_FORGET};
	struct child *child = take_ptr(*guard);

	if (child)
		(void)child_send(child, &message, NULL, NULL, 0);
}

static void on_guard_exit(struct child *child)
{
	struct broker *broker = child->broker;
	bool guards = broker->freeze.guard == child;

	if (broker->freeze.unguard == child)
		broker->freeze.unguard = NULL;
	child_drop(child);
	spare_trim(broker);
	if (!guards)
		return;
	broker->freeze.guard = NULL;
	/* Nobody stays frozen unguarded. */
	freeze_thaw(broker, THAW_FREEZE_FAILED);
}

void freeze_guard(struct child *worker, int socket)
{
	struct broker *broker = worker->broker;
	struct inner_message message = {.kind = INNER_GUARD};
	AUTO_CLOSE int theirs = socket;
	struct child *child = NULL;

	if (worker->method != METHOD_filesystems_freeze || broker->freeze.guard)
		return;
	if (zygote_fork(broker, ROLE_JOB, &child) < 0) {
		log_warning("nobody thaws should the agent die while file systems are frozen");
		return;
	}
	child->on_exit = on_guard_exit;
	child->on_message = child_unasked;
	broker->freeze.guard = child;
	(void)child_send(child, &message, NULL, &theirs, 1);
}

/* The end of a guard takes as long as the answer, which it would be before. */
void freeze_over(struct broker *broker)
{
	dismiss(&broker->freeze.unguard);
	broker->freeze.unguard = take_ptr(broker->freeze.guard);
	broker->freeze.lease = 0;
	broker->freeze.session = NULL;
	broker->freeze.why = 0;
	loop_timer_del(&broker->freeze.timer);
	quarantine_publish(broker);
	stop_check(broker);
}

/* What it did was told by then. The next lease may already wait to be ended. */
static void on_thawed(struct broker *broker, uint64_t result)
{
	dismiss(&broker->freeze.unguard);
	if (broker->freeze.lease != 0 && broker->freeze.why != 0)
		set_timer(broker, result == RESTORE_DONE ? 0 : AGAIN_MS);
}

void freeze_thaw(struct broker *broker, enum thaw_why why)
{
	struct freeze *freeze = &broker->freeze;

	if (freeze->lease == 0)
		return;
	/* The first reason is the one that counts. */
	if (!freeze->why)
		freeze->why = why;
	freeze->session = NULL;
	freeze->until_ns = 0;
	quarantine_publish(broker);
	loop_timer_del(&freeze->timer);
	if (freeze->thawer.child)
		return;
	if (chore_thaw(broker, freeze->why, on_thawed) < 0)
		set_timer(broker, AGAIN_MS);
}

void freeze_worker_gone(const struct call *call)
{
	if (call->broker->freeze.lease == call->number)
		freeze_thaw(call->broker, THAW_FREEZE_FAILED);
}

void freeze_call_over(const struct call *call)
{
	struct freeze *freeze = &call->broker->freeze;

	if (call->method == METHOD_filesystems_thaw)
		dismiss(&freeze->unguard);
	if (call->method == METHOD_filesystems_freeze && freeze->lease == 0) {
		dismiss(&freeze->unguard);
		dismiss(&freeze->guard);
	}
}

void freeze_session_gone(struct session *session)
{
	struct freeze *freeze = &session->broker->freeze;

	if (freeze->lease == 0 || freeze->session != session)
		return;
	freeze->session = NULL;
	/* One that is still at it finds out when it is done. */
	if (freeze->until_ns != 0)
		freeze_thaw(session->broker, THAW_CALLER_GONE);
}

int freeze_extend(
	struct broker *broker, const struct identity *identity, uint64_t lease, uint64_t lease_ms)
{
	struct freeze *freeze = &broker->freeze;

	if (lease_ms < FREEZE_LEAST_MS || lease_ms > FREEZE_MOST_MS)
		return -EINVAL;
	if (lease == 0 || freeze->lease != lease || freeze->until_ns == 0 ||
		!identity_equal(&freeze->identity, identity))
		return -ENOENT;
	freeze->until_ns = monotonic_ns() + lease_ms * NSEC_PER_MSEC;
	set_timer(broker, lease_ms);
	quarantine_publish(broker);
	return 0;
}

bool freeze_forbids(const struct broker *broker, enum method method)
{
	return broker->freeze.lease != 0 && !(method_rows[method].flags & SAFE_FROZEN);
}

void freeze_describe(const struct broker *broker, struct freeze_facts *ret)
{
	*ret = (struct freeze_facts){
		.lease = broker->freeze.lease, .until_ns = broker->freeze.until_ns};
	if (ret->lease != 0)
		identity_print(&broker->freeze.identity, ret->holder, sizeof(ret->holder));
}
