/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Datagrams of one peer as records on a stream, in an event loop: 2 bytes of length, the lowest
 * first, then the datagram. As with any datagrams, what nobody takes in time is lost.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/buffer.h"
#include "proto/loop.h"

#define DATAGRAM_MOST    65535
#define DATAGRAM_IDLE_MS 60000 /* without one in either direction: the peer is forgotten */

struct datagram_flow {
	int stream; /* owned; -EBADF until it is there: what comes is kept for it */
	int udp;    /* owned where connected, else the listener's */
	bool connected;
	struct sockaddr_storage peer; /* where not connected */
	socklen_t peer_len;
	struct loop *loop;
	struct loop_io stream_io, udp_io;
	struct loop_timer idle;
	struct buffer in, out;          /* from the stream, to it */
	uint64_t from_udp, from_stream; /* bytes without lengths */
	uint64_t lost; /* datagrams from the peer that the stream had no room for */
	/* It is over, and everything is closed; the callee may free the flow. */
	void (*done)(struct datagram_flow *flow);
};

/* One whose datagrams come and go through a socket that is connected (owned from here on, also on
 * failure). done is set already. 0 or -errno. */
int datagram_start(struct datagram_flow *flow, struct loop *loop, int udp);

/* One of a peer of a socket that takes everybody's (borrowed): datagram_take() is told what comes.
 */
void datagram_start_peer(struct datagram_flow *flow, struct loop *loop, int udp,
	const struct sockaddr_storage *peer, socklen_t peer_len);

/* The stream is there (owned from here on). 0 or -errno. */
int datagram_join(struct datagram_flow *flow, int stream);

/* A datagram of the peer. May end the flow. */
void datagram_take(struct datagram_flow *flow, const uint8_t *bytes, size_t len);

/* Ends it without done being called. Safe on what was never started, and twice. */
void datagram_stop(struct datagram_flow *flow);
