/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signs of life as events: the agent's own, and those that programs do not give. */
#include "agent/watch/watch.h"
#include "proto/clock.h"

static void missed(struct watch *watch, const struct heartbeat *heartbeat)
{
	Postern__V1__NotifyHeartbeatMissed notify = POSTERN__V1__NOTIFY_HEARTBEAT_MISSED__INIT;
	Postern__V1__HeartbeatProgram program;

	heartbeat_to_message(heartbeat, monotonic_ns(), &program);
	notify.program = &program;
	ring_add_private(watch, TOPIC_heartbeat_missed, &notify.base, heartbeat->uid);
}

void heartbeat_recovered(struct watch *watch, const struct heartbeat *heartbeat, uint64_t silent_ns)
{
	Postern__V1__NotifyHeartbeatRecovered notify =
		POSTERN__V1__NOTIFY_HEARTBEAT_RECOVERED__INIT;
	Postern__V1__HeartbeatProgram program;

	heartbeat_to_message(heartbeat, monotonic_ns(), &program);
	notify.program = &program;
	notify.has_silent_ms = true;
	notify.silent_ms = silent_ns / NSEC_PER_MSEC;
	ring_add_private(watch, TOPIC_heartbeat_recovered, &notify.base, heartbeat->uid);
}

static void on_late(struct loop_timer *timer)
{
	heartbeat_check(container_of(timer, struct watch, late));
}

void heartbeat_check(struct watch *watch)
{
	const struct heartbeat *heartbeat;
	uint64_t next;

	while ((heartbeat = heartbeats_late(&watch->heartbeats, monotonic_ns())))
		missed(watch, heartbeat);
	next = heartbeats_next(&watch->heartbeats);
	watch->late.fn = on_late;
	if (next == UINT64_MAX)
		loop_timer_del(&watch->late);
	else
		loop_timer_set(&watch->loop, &watch->late, next);
}

void heartbeat_disconnect(struct watch *watch, const void *connection)
{
	const struct heartbeat *heartbeat;

	while ((heartbeat = heartbeats_gone(&watch->heartbeats, connection)))
		missed(watch, heartbeat);
	heartbeat_check(watch);
}

void heartbeat_snapshot(struct watch *watch, const struct caller *caller, struct snapshot *snapshot)
{
	for (size_t i = 0; i < watch->heartbeats.n; i++) {
		Postern__V1__NotifyHeartbeatMissed notify =
			POSTERN__V1__NOTIFY_HEARTBEAT_MISSED__INIT;
		const struct heartbeat *heartbeat = &watch->heartbeats.programs[i];
		Postern__V1__HeartbeatProgram program;

		if (heartbeat->state == POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_ALIVE ||
			(caller->guest && caller->uid != 0 && caller->uid != heartbeat->uid))
			continue;
		heartbeat_to_message(heartbeat, monotonic_ns(), &program);
		notify.program = &program;
		snapshot_add(snapshot, TOPIC_heartbeat_missed, &notify.base);
	}
}

/* ---- the agent's own ---- */

static void on_agent_beat(struct loop_timer *timer)
{
	struct watch *watch = container_of(timer, struct watch, agent_beat);
	Postern__V1__NotifyHeartbeatAgent notify = POSTERN__V1__NOTIFY_HEARTBEAT_AGENT__INIT;

	notify.has_uptime_ms = notify.has_programs = notify.has_missed = true;
	notify.uptime_ms = clock_ns(CLOCK_BOOTTIME) / NSEC_PER_MSEC;
	notify.programs = (uint32_t)watch->heartbeats.n;
	notify.missed = heartbeats_missed(&watch->heartbeats);
	watch->agent_beat_ns = monotonic_ns();
	ring_add_message(watch, TOPIC_heartbeat_agent, &notify.base, NULL);
	heartbeat_schedule(watch);
}

void heartbeat_schedule(struct watch *watch)
{
	uint64_t interval = subscribers_beat_interval(watch), now = monotonic_ns();

	watch->agent_beat.fn = on_agent_beat;
	if (interval == 0) {
		loop_timer_del(&watch->agent_beat);
		watch->agent_beat_ns = 0;
		return;
	}
	/* Whoever comes first hears it at once, and knows that it works. */
	loop_timer_set(&watch->loop, &watch->agent_beat,
		watch->agent_beat_ns ? watch->agent_beat_ns + interval : now);
}
