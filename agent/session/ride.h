/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels that ride inside the frames of a connection, for callers who have no second one: the
 * session is the caller's end of the channel, and joins it with frames. Each side sends no more
 * than the other has given it credit for, so neither holds more for one that does not read.
 */
#pragma once

#include "agent/session/session.h"

/* A handler of channels.open: presents the token, and keeps the channel's socket. The same twice as
 * session_ask(). 0; -EUSERS: too many ride already; or -errno. */
int ride_open(struct call *call, const uint8_t token[TOKEN_SIZE], uint32_t credit,
	const struct told **ret_told);

/* The broker has taken the token for it (told 0), and credit goes to the caller; or not. NULL: the
 * caller has cancelled it. */
struct ride *ride_opened(struct session *session, uint64_t request, const struct told *told);

uint64_t ride_number(const struct ride *ride);

/* A frame of the caller. */
void ride_take(struct session *session, const Postern__V1__ChannelData *data);

/* Goes on after the peer has read. */
void ride_resume(struct session *session);

/* The caller sends no more: all of them end. */
void ride_stop(struct session *session);
