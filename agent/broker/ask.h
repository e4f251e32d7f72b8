/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a session asks for a row of BROKER. */
#pragma once

#include "agent/broker/broker.h"

struct session;

/* INNER_ASK: answers now or later. A session that asks for what it may not is ended. */
void ask_take(struct session *session, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX]);

/* Answers: error (errno), or body[0..len) and 0. */
void ask_answer(struct session *session, uint64_t serial, enum method method, int error,
	const void *body, size_t len);
