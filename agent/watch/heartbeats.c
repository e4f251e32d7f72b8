/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/watch/heartbeats.h"

#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

#define ALIVE POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_ALIVE
#define LATE  POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_LATE
#define GONE  POSTERN__V1__HEARTBEAT_STATE__HEARTBEAT_GONE

struct heartbeat *heartbeats_find(struct heartbeats *heartbeats, const char *name, uint32_t uid)
{
	for (size_t i = 0; i < heartbeats->n; i++) {
		struct heartbeat *heartbeat = &heartbeats->programs[i];

		if (heartbeat->uid == uid && strcmp(heartbeat->name, name) == 0)
			return heartbeat;
	}
	return NULL;
}

void heartbeats_remove(struct heartbeats *heartbeats, struct heartbeat *heartbeat)
{
	*heartbeat = heartbeats->programs[--heartbeats->n];
	if (heartbeats->n == 0)
		free(take_ptr(heartbeats->programs));
}

/* Room for one more of the user: what was missed for the longest time goes, of his own. */
static bool make_room(struct heartbeats *heartbeats, uint32_t uid)
{
	struct heartbeat *oldest = NULL;
	size_t of_user = 0, of_users = 0;

	for (size_t i = 0; i < heartbeats->n; i++) {
		struct heartbeat *heartbeat = &heartbeats->programs[i];

		of_users += heartbeat->uid != 0;
		if (heartbeat->uid != uid)
			continue;
		of_user++;
		if (heartbeat->state != ALIVE && (!oldest || heartbeat->last_ns < oldest->last_ns))
			oldest = heartbeat;
	}
	if (of_user < HEARTBEATS_USER_MAX && heartbeats->n < HEARTBEATS_MAX &&
		(uid == 0 || of_users < HEARTBEATS_USERS_MAX))
		return true;
	if (!oldest)
		return false;
	heartbeats_remove(heartbeats, oldest);
	return true;
}

struct heartbeat *heartbeats_add(struct heartbeats *heartbeats, const char *name, uint32_t uid)
{
	struct heartbeat *heartbeat;

	if (!make_room(heartbeats, uid))
		return NULL;
	if (!heartbeats->programs)
		heartbeats->programs = calloc(HEARTBEATS_MAX, sizeof(*heartbeats->programs));
	if (!heartbeats->programs)
		return NULL;
	heartbeat = &heartbeats->programs[heartbeats->n++];
	*heartbeat = (struct heartbeat){.uid = uid, .state = ALIVE};
	memcpy(heartbeat->name, name, strnlen(name, HEARTBEAT_NAME_MAX));
	return heartbeat;
}

static uint64_t due(const struct heartbeat *heartbeat)
{
	return heartbeat->state == ALIVE
		       ? heartbeat->last_ns + heartbeat->deadline_ms * NSEC_PER_MSEC
		       : UINT64_MAX;
}

struct heartbeat *heartbeats_late(struct heartbeats *heartbeats, uint64_t now_ns)
{
	for (size_t i = 0; i < heartbeats->n; i++) {
		struct heartbeat *heartbeat = &heartbeats->programs[i];

		if (due(heartbeat) > now_ns)
			continue;
		heartbeat->state = LATE;
		heartbeat->missed++;
		return heartbeat;
	}
	return NULL;
}

struct heartbeat *heartbeats_gone(struct heartbeats *heartbeats, const void *connection)
{
	for (size_t i = 0; i < heartbeats->n; i++) {
		struct heartbeat *heartbeat = &heartbeats->programs[i];

		if (heartbeat->connection != connection)
			continue;
		heartbeat->connection = NULL;
		if (heartbeat->state != ALIVE)
			continue;
		heartbeat->state = GONE;
		heartbeat->missed++;
		return heartbeat;
	}
	return NULL;
}

uint64_t heartbeats_next(const struct heartbeats *heartbeats)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < heartbeats->n; i++)
		if (due(&heartbeats->programs[i]) < next)
			next = due(&heartbeats->programs[i]);
	return next;
}

uint32_t heartbeats_missed(const struct heartbeats *heartbeats)
{
	uint32_t missed = 0;

	for (size_t i = 0; i < heartbeats->n; i++)
		missed += heartbeats->programs[i].state != ALIVE;
	return missed;
}

void heartbeat_to_message(const struct heartbeat *heartbeat, uint64_t now_ns,
	Postern__V1__HeartbeatProgram *ret_program)
{
	postern__v1__heartbeat_program__init(ret_program);
	ret_program->name = (char *)heartbeat->name;
	ret_program->has_uid = ret_program->has_deadline_ms = ret_program->has_state = true;
	ret_program->uid = heartbeat->uid;
	ret_program->deadline_ms = heartbeat->deadline_ms;
	ret_program->state = heartbeat->state;
	ret_program->has_last_beat_ns = ret_program->has_last_beat_ago_ms = true;
	ret_program->last_beat_ns = (int64_t)heartbeat->last_real_ns;
	ret_program->last_beat_ago_ms = (now_ns - heartbeat->last_ns) / NSEC_PER_MSEC;
	ret_program->has_beats = ret_program->has_missed = ret_program->has_detached = true;
	ret_program->beats = heartbeat->beats;
	ret_program->missed = heartbeat->missed;
	ret_program->detached = heartbeat->detached;
}
