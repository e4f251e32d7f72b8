/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Answers about devices (rows that say BY_UEVENTS) that hold until the kernel has told of a change
 * of any device: it counts what it tells (/sys/kernel/uevent_seqnum, which the session is lent).
 * Each is its caller's own, whom the next one is given to.
 */
#pragma once

#include "agent/session/session.h"

/* The count now; 0: it is not known. */
uint64_t memo_count(const struct session *session);

/* Answers a request without parameters from what was kept when the count was the same. False: there
 * is nothing, and somebody has to be asked. */
bool memo_answer(struct session *session, uint64_t id, enum method method, uint64_t count);

/* Keeps the result in a frame that was the whole answer to a request of when the count was this. */
void memo_keep(struct session *session, enum method method, uint64_t count, const uint8_t *frame,
	size_t len);
