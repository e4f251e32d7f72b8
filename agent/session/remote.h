/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that a process of their own answers, through a pipe of the session's own making. */
#pragma once

#include "agent/session/session.h"

/* Checks the parameters and hands the request to the broker; fails it where that is not possible.
 */
void remote_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline);

/* Asks the broker to end it; its answer still comes. */
void remote_cancel(struct request *request);

/* INNER_ENDED */
void remote_ended(struct session *session, uint64_t serial, uint32_t why);

/* Goes on after the peer has read. */
void remote_resume(struct session *session);

/* Reads once of an answer that arrives at io, behind what came already. 1; 0 at its end; -EAGAIN:
 * nothing is there, or the peer does not read (conn_paused()). */
int remote_read(struct session *session, struct loop_io *io, struct buffer *came);

/* What was passed on. */
struct passed {
	size_t parts;
	struct reply_head head; /* of the last one */
	const uint8_t *frame;   /* borrowed; where that lies, until more comes; NULL: it is gone */
};

/* Passes on the whole parts among what came. 1: the last one was among them; 0: there is more to
 * come; -EMSGSIZE: one is too large; -ENOMEM: the connection ends. */
int remote_pass_on(struct session *session, struct buffer *came, struct passed *ret);
