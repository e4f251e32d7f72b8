/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests to processes that serve one after another: the near end of lanes (agent/lane.h). */
#pragma once

#include "agent/session/session.h"

/* Checks the parameters, and asks a process that is free, or has the broker find another. */
void lane_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline);

/* Asks the broker to end the lane's request; its answer still comes. */
void lane_cancel(const struct lane *lane);

/* The lane's request was answered by somebody else: the lane is of no use any more. */
void lane_request_gone(struct lane *lane);

/* INNER_LANE_ENDED; serial: of the request that it was ended for, 0: for none. */
void lane_ended(struct session *session, uint64_t number, uint64_t serial, uint32_t why);

/* Goes on after the peer has read. */
void lane_resume(struct session *session);
