/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that a reader or a worker answers, through a pipe of the session's own making. */
#pragma once

#include "agent/session/session.h"

/*
 * True for a method whose answer may come through a pipe that has served before. All readers that
 * answered this connection may still write into such a pipe, so it is for what readers say and
 * never for a worker's word.
 */
bool remote_keeps_pipe(enum method method);

/* Checks the parameters and hands the request to the broker; fails it where that is not possible.
 */
void remote_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline);

/* Asks the broker to end it; its answer still comes. */
void remote_cancel(struct request *request);
