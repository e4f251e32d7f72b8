/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lease of what is frozen through the agent. A worker freezes and a worker thaws; the broker
 * sees to it that the latter comes, whatever became of the former, of the caller, or of the broker
 * itself.
 */
#pragma once

#include "agent/broker/broker.h"

struct call;
struct session;

/* At the start: what an agent before this one left frozen is thawed. */
void freeze_start(struct broker *broker);

/* INNER_FREEZING of the call's worker: lease_ms 0 begins the lease, else it runs from now on. */
void freeze_told(struct call *call, uint64_t lease_ms);

/* INNER_WANT_GUARD of the worker that is about to freeze: a process for jobs takes what comes
 * through the socket (owned from here on). Where there is none, it is closed. */
void freeze_guard(struct child *worker, int socket);

/* INNER_THAWED of whoever thawed. */
void freeze_over(struct broker *broker);

/* Thaws, unless somebody is at it; tried again until it is done. why: the protocol's ThawReason. */
enum thaw_why {
	THAW_LEASE_ENDED = 2,
	THAW_CALLER_GONE = 3,
	THAW_FREEZE_FAILED = 4,
	THAW_AGENT_STOPPED = 5
};
void freeze_thaw(struct broker *broker, enum thaw_why why);

/* The worker of a call is gone without a whole answer: if it froze, all thaws. */
void freeze_worker_gone(const struct call *call);

/* The call is over: one that thawed, or froze nothing, needs no guard any more. */
void freeze_call_over(const struct call *call);

/* The connection is gone: so is its lease. */
void freeze_session_gone(struct session *session);

/* filesystems.extend. 0, -ENOENT: no such lease of this identity, -EINVAL: not such a time. */
int freeze_extend(
	struct broker *broker, const struct identity *identity, uint64_t lease, uint64_t lease_ms);

/* True when the row must not be begun now. */
bool freeze_forbids(const struct broker *broker, enum method method);

/* What workers are told. */
void freeze_describe(const struct broker *broker, struct freeze_facts *ret);
