/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/session/memo.h"

#include <stdlib.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/verify.h"

#define RESULT_MAX (64u << 10) /* bytes of one that is kept */

uint64_t memo_count(const struct session *session)
{
	char text[32] = "";
	int fd = session->fds[SESSION_FD_UEVENTS];

	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

static struct memo *find(struct session *session, enum method method)
{
	for (size_t i = 0; i < ARRAY_SIZE(session->memos); i++)
		if (session->memos[i].count != 0 && session->memos[i].method == method)
			return &session->memos[i];
	return NULL;
}

/* In the order in which they come. */
static struct memo *find_place(struct session *session, enum method method)
{
	struct memo *memo = find(session, method);

	for (size_t i = 0; i < ARRAY_SIZE(session->memos) && !memo; i++)
		if (session->memos[i].count == 0)
			memo = &session->memos[i];
	return memo;
}

bool memo_answer(struct session *session, uint64_t id, enum method method, uint64_t count)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Response response = POSTERN__V1__RESPONSE__INIT;
	const struct memo *memo = find(session, method);

	if (!memo || memo->count != count)
		return false;
	response.has_id = true;
	response.id = id;
	response.outcome_case = POSTERN__V1__RESPONSE__OUTCOME_RESULT;
	response.result = (ProtobufCBinaryData){
		.len = buffer_len(&memo->result), .data = buffer_front(&memo->result)};
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_RESPONSE;
	from.response = &response;
	(void)conn_send_message(session, &from);
	return true;
}

void memo_keep(struct session *session, enum method method, uint64_t count, const uint8_t *frame,
	size_t len)
{
	struct memo *memo = find_place(session, method);
	const Postern__V1__FromAgent *from;
	const char *why;
	size_t head = 0;

	if (!memo || count == 0 || len > RESULT_MAX)
		return;
	memo->count = 0;
	buffer_consume(&memo->result, buffer_len(&memo->result));
	/* The frame's own length. */
	while (head < len && frame[head] & 0x80)
		head++;
	if (head++ >= len)
		return;
	arena_reset(&session->arena);
	from = (Postern__V1__FromAgent *)verify_unpack(&postern__v1__from_agent__descriptor,
		frame + head, len - head, &verify_agent_limits, &session->arena, &why);
	if (!from || from->kind_case != POSTERN__V1__FROM_AGENT__KIND_RESPONSE ||
		from->response->outcome_case != POSTERN__V1__RESPONSE__OUTCOME_RESULT ||
		from->response->more ||
		buffer_append(
			&memo->result, from->response->result.data, from->response->result.len) < 0)
		return;
	memo->method = method;
	memo->count = count;
}
