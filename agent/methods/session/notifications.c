/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/methods/prototypes.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"

#define INTERVAL_LEAST_MS 1000
#define PATTERNS_MAX      64

int notifications_list(struct call *call, const Postern__V1__NotificationsListRequest *request,
	Postern__V1__NotificationsListReply *reply)
{
	(void)request;
	reply->topics = arena_alloc(call->arena, TOPIC_COUNT * sizeof(*reply->topics));
	if (!reply->topics)
		return -ENOMEM;
	for (int i = 0; i < TOPIC_COUNT; i++) {
		const struct verdict *verdict = &call->verdicts->topic[i];
		Postern__V1__Topic *topic = arena_alloc(call->arena, sizeof(*topic));

		if (!topic)
			return -ENOMEM;
		postern__v1__topic__init(topic);
		topic->name = (char *)topic_rows[i].name;
		topic->summary = (char *)topic_rows[i].summary;
		topic->has_allowed = true;
		topic->allowed = verdict->allowed;
		topic->has_state = true;
		topic->state = topic_rows[i].has_state;
		if (!verdict->allowed)
			topic->rule = verdict->rule[0] ? (char *)verdict->rule : (char *)"no rule";
		reply->topics[reply->n_topics++] = topic;
	}
	return 0;
}

/*
 * '*' stays within one part of the name, but at the end it stands for all that follows. Of several
 * only the last can be wrong about how far it reaches, so that no pattern takes long.
 */
static bool topic_matches(const char *pattern, const char *name)
{
	const char *star = NULL, *reach = NULL;

	for (;;) {
		if (*pattern == '*') {
			if (pattern[1] == '\0')
				return true;
			star = pattern++;
			reach = name;
		} else if (*pattern == *name) {
			if (*name == '\0')
				return true;
			pattern++;
			name++;
		} else {
			if (!star || *reach == '\0' || *reach == '.')
				return false;
			pattern = star + 1;
			name = ++reach;
		}
	}
}

/* The allowed topics that one pattern stands for; an error where there are none. */
static int add_pattern(struct call *call, const char *pattern, uint64_t *mask)
{
	const char *denied = NULL, *rule = NULL;
	uint64_t found = 0;

	for (int i = 0; i < TOPIC_COUNT; i++) {
		if (!topic_matches(pattern, topic_rows[i].name))
			continue;
		if (call->verdicts->topic[i].allowed) {
			found |= UINT64_C(1) << i;
		} else {
			denied = topic_rows[i].name;
			rule = call->verdicts->topic[i].rule;
		}
	}
	*mask |= found;
	if (found)
		return 0;
	if (!denied)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"no topic is called %.64s; notifications.list has them all", pattern);
	(void)call_fail(call, POSTERN__V1__CODE__PERMISSION_DENIED, 0,
		"%s is denied by the policy (%s)", denied, rule[0] ? rule : "no rule allows it");
	if (call->error)
		call->error->rule = rule[0] ? (char *)rule : (char *)"no rule";
	return -EPERM;
}

static bool any_has_state(uint64_t topics)
{
	for (int i = 0; i < TOPIC_COUNT; i++)
		if (topics >> i & 1 && topic_rows[i].has_state)
			return true;
	return false;
}

static void set_threshold(const Postern__V1__LoadThreshold *from, struct events_command *to)
{
	if (!from)
		return;
	if (from->has_load1_above)
		to->flags |= EVENTS_LOAD1;
	if (from->has_memory_available_below)
		to->flags |= EVENTS_MEMORY;
	if (from->has_cpu_pressure_above)
		to->flags |= EVENTS_CPU_PRESSURE;
	if (from->has_memory_pressure_above)
		to->flags |= EVENTS_MEMORY_PRESSURE;
	if (from->has_io_pressure_above)
		to->flags |= EVENTS_IO_PRESSURE;
	to->load1_above = from->load1_above;
	to->memory_below = from->memory_available_below;
	to->pressure_above[0] = from->cpu_pressure_above;
	to->pressure_above[1] = from->memory_pressure_above;
	to->pressure_above[2] = from->io_pressure_above;
}

int notifications_subscribe(struct call *call,
	const Postern__V1__NotificationsSubscribeRequest *request,
	Postern__V1__NotificationsSubscribeReply *reply)
{
	struct events_command command = {.kind = EVENTS_SUBSCRIBE};
	int r;

	(void)reply;
	if (request->n_topics == 0 || request->n_topics > PATTERNS_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"topics: expected 1 to %d patterns", PATTERNS_MAX);
	for (size_t i = 0; i < request->n_topics; i++) {
		r = add_pattern(call, request->topics[i], &command.topics);
		if (r < 0)
			return r;
	}
	if (request->interval_ms != 0 && request->interval_ms < INTERVAL_LEAST_MS)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"interval_ms: at least %d", INTERVAL_LEAST_MS);
	command.interval_ms = request->interval_ms;
	set_threshold(request->threshold, &command);
	if (request->snapshot && request->after)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"snapshot and after: one of them, not both");
	if (request->snapshot && !any_has_state(command.topics))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"snapshot: none of these topics has a state; it is told as events of "
			"notify.mounts.mount, notify.shares.mount, notify.devices.added, "
			"notify.properties.changed, notify.heartbeat.missed and "
			"notify.system_load");
	if (request->snapshot)
		command.flags |= EVENTS_SNAPSHOT;
	if (request->after) {
		command.flags |= EVENTS_AFTER;
		command.epoch = request->after->epoch;
		command.seq = request->after->seq;
	}
	/* What was lost is always told. */
	command.topics |= UINT64_C(1) << TOPIC_gap;
	return events_subscribe(call->program, call, &command);
}

int notifications_unsubscribe(struct call *call,
	const Postern__V1__NotificationsUnsubscribeRequest *request,
	Postern__V1__NotificationsUnsubscribeReply *reply)
{
	(void)reply;
	if (events_unsubscribe(call->program, request->subscription) < 0)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0, "no such subscription");
	return 0;
}
