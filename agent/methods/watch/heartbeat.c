/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "agent/methods/prototypes.h"
#include "agent/watch/watch.h"
#include "proto/clock.h"

static bool may_see(const struct caller *caller, const struct heartbeat *heartbeat)
{
	return !caller->guest || caller->uid == 0 || caller->uid == heartbeat->uid;
}

int heartbeat_list(struct call *call, const Postern__V1__HeartbeatListRequest *request,
	Postern__V1__HeartbeatListReply *reply)
{
	const struct subscriber *subscriber = call->program;
	const struct watch *watch = subscriber->watch;
	const struct heartbeats *heartbeats = &watch->heartbeats;
	uint64_t now = monotonic_ns();

	(void)request;
	reply->programs = arena_alloc(call->arena, heartbeats->n * sizeof(*reply->programs));
	if (!reply->programs)
		return -ENOMEM;
	for (size_t i = 0; i < heartbeats->n; i++) {
		Postern__V1__HeartbeatProgram *program;

		if (!may_see(&subscriber->caller, &heartbeats->programs[i]))
			continue;
		program = arena_alloc(call->arena, sizeof(*program));
		if (!program)
			return -ENOMEM;
		heartbeat_to_message(&heartbeats->programs[i], now, program);
		reply->programs[reply->n_programs++] = program;
	}
	reply->has_agent_started_ago_ms = true;
	reply->agent_started_ago_ms = (now - watch->started_ns) / NSEC_PER_MSEC;
	return 0;
}

/* The name, if it is one, of a caller that may have one; NULL with the reason. */
static const char *check_name(struct call *call, const char *name)
{
	const struct subscriber *subscriber = call->program;

	if (!subscriber->caller.guest)
		call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"only programs of the guest give signs of life, through its own socket");
	else if (!name || strlen(name) > HEARTBEAT_NAME_MAX ||
		 !store_word_is_good(name, strlen(name)))
		call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"name: expected 1 to %d of a-z, A-Z, 0-9 and \"._:@+-\"",
			HEARTBEAT_NAME_MAX);
	else
		return name;
	return NULL;
}

/* A beat that is told to others, since it is the first one or the first after a pause, must be paid
 * for as a change is. NULL with the reason. */
static struct heartbeat *begin(
	struct call *call, struct heartbeat *heartbeat, const char *name, bool has_deadline)
{
	struct subscriber *subscriber = call->program;
	struct watch *watch = subscriber->watch;

	if (!heartbeat && !has_deadline) {
		call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"deadline_ms: must be there the first time");
		return NULL;
	}
	if (!store_pay(&watch->store, &subscriber->caller, monotonic_ns())) {
		call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, 0,
			"too many changes in a short time; try again in a second");
		return NULL;
	}
	if (!heartbeat)
		heartbeat = heartbeats_add(&watch->heartbeats, name, subscriber->caller.uid);
	if (!heartbeat)
		call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, 0,
			"too many programs give signs of life: at most %d of one user, %d of all",
			HEARTBEATS_USER_MAX, HEARTBEATS_MAX);
	return heartbeat;
}

static void beat(struct watch *watch, struct heartbeat *heartbeat)
{
	uint64_t now = monotonic_ns(), silent = now - heartbeat->last_ns;
	bool recovers = heartbeat->state != POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_ALIVE;

	heartbeat->last_ns = now;
	heartbeat->last_real_ns = clock_ns(CLOCK_REALTIME);
	heartbeat->beats++;
	heartbeat->state = POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_ALIVE;
	if (recovers)
		heartbeat_recovered(watch, heartbeat, silent);
	heartbeat_check(watch);
}

int heartbeat_beat(struct call *call, const Postern__V1__HeartbeatBeatRequest *request,
	Postern__V1__HeartbeatBeatReply *reply)
{
	struct subscriber *subscriber = call->program;
	struct watch *watch = subscriber->watch;
	const char *name = check_name(call, request->name);
	struct heartbeat *heartbeat;

	if (!name)
		return -EINVAL;
	if (request->has_deadline_ms && (request->deadline_ms < HEARTBEAT_LEAST_MS ||
						request->deadline_ms > HEARTBEAT_MOST_MS))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"deadline_ms: expected %d to %d", HEARTBEAT_LEAST_MS, HEARTBEAT_MOST_MS);
	heartbeat_check(watch);
	heartbeat = heartbeats_find(&watch->heartbeats, name, subscriber->caller.uid);
	if (!heartbeat || heartbeat->state != POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_ALIVE)
		heartbeat = begin(call, heartbeat, name, request->has_deadline_ms);
	if (!heartbeat)
		return -EREMOTEIO;
	if (request->has_deadline_ms)
		heartbeat->deadline_ms = request->deadline_ms;
	if (request->has_detached)
		heartbeat->detached = request->detached;
	/* Whoever beat last is the program. */
	heartbeat->connection = heartbeat->detached ? NULL : subscriber->caller.connection;
	beat(watch, heartbeat);
	reply->has_deadline_ms = true;
	reply->deadline_ms = heartbeat->deadline_ms;
	return 0;
}

int heartbeat_end(struct call *call, const Postern__V1__HeartbeatEndRequest *request,
	Postern__V1__HeartbeatEndReply *reply)
{
	struct subscriber *subscriber = call->program;
	struct heartbeats *heartbeats = &subscriber->watch->heartbeats;
	uint32_t own = subscriber->caller.uid, uid = request->has_uid ? request->uid : own;
	const char *name = check_name(call, request->name);
	struct heartbeat *heartbeat;

	(void)reply;
	if (!name)
		return -EINVAL;
	if (own != 0 && uid != own)
		return call_fail(call, POSTERN__V1__CODE__PERMISSION_DENIED, 0,
			"uid: only root ends what others have promised");
	heartbeat = heartbeats_find(heartbeats, name, uid);
	if (!heartbeat)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"%.64s: no such program of user %u", name, uid);
	heartbeats_remove(heartbeats, heartbeat);
	heartbeat_check(subscriber->watch);
	return 0;
}
