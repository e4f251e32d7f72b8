/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/row.h"

#include <string.h>

/* The broker only needs to know that there is one. */
#define SETTLE(function) true
#define NO_SETTLE        false

const struct method_row method_rows[METHOD_COUNT] = {
#define METHOD(service, rpc, Type, where_, caps_, profile_, default_ms_, max_ms_, flags_, settle,  \
	needs, summary_)                                                                           \
	[METHOD_##service##_##rpc] = {.name = #service "." #rpc,                                   \
		.name_len = sizeof(#service "." #rpc) - 1,                                         \
		.where = where_,                                                                   \
		.profile = profile_,                                                               \
		.caps = caps_,                                                                     \
		.default_ms = default_ms_,                                                         \
		.max_ms = max_ms_,                                                                 \
		.flags = flags_,                                                                   \
		.settles = settle,                                                                 \
		.summary = summary_},
#include "methods.rows"
#undef METHOD
};

const struct topic_row topic_rows[TOPIC_COUNT] = {
#define STATE    true
#define NO_STATE false
#define TOPIC(name_, text, state, summary_)                                                        \
	[TOPIC_##name_] = {.name = text, .has_state = state, .summary = summary_},
#include "agent/methods/topics.rows"
#undef TOPIC
};

bool row_has_lane(enum method method)
{
	const struct method_row *row = &method_rows[method];

	return row->where == READER || (row->where == WORKER && row->flags & KEPT);
}

bool row_same_lane(enum method first, enum method second)
{
	const struct method_row *one = &method_rows[first], *other = &method_rows[second];

	if (!row_has_lane(first) || !row_has_lane(second) || one->where != other->where)
		return false;
	return one->where == READER || (one->caps == other->caps && one->profile == other->profile);
}

enum method method_find(const char *name, size_t len)
{
	for (int i = 0; i < METHOD_COUNT; i++)
		if (method_rows[i].name_len == len && memcmp(method_rows[i].name, name, len) == 0)
			return (enum method)i;
	return METHOD_COUNT;
}
