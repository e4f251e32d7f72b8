/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Methods that are about what the watcher keeps. */
#include <errno.h>

#include "agent/methods/call.h"
#include "agent/watch/watch.h"

int call_take(struct subscriber *subscriber, const struct events_command *command,
	const uint8_t *params, size_t len)
{
	struct arena arena;
	struct call call = {.arena = &arena,
		.id = command->id,
		.deadline = UINT64_MAX,
		.max_frame = command->max_frame,
		.program = subscriber,
		.out = &subscriber->answer};
	int r;

	if (command->method >= METHOD_COUNT || method_rows[command->method].where != WATCHER ||
		!subscriber->methods[command->method] || command->max_frame > FRAME_CEILING)
		return -EBADMSG;
	call.method = (enum method)command->method;
	subscriber->answer_serial = command->subscription;
	arena_init(&arena, ARENA_REQUEST_MAX);
	r = dispatch(&call, params, len);
	arena_done(&arena);
	return r;
}
