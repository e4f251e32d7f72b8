/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connections of a forward, on the host: each between a socket of ours and a channel of the
 * guest's. A few at once are being opened, the others wait for their turn: an agent drops whom it
 * does not know yet where there are too many.
 */
#pragma once

#include "host/cli/forward_spec.h"
#include "proto/client/channel.h"
#include "proto/forward/datagram.h"
#include "proto/forward/relay.h"
#include "proto/list.h"

struct forward_conn;

struct forward_conns {
	struct loop *loop;                   /* borrowed, as all in here */
	const struct postern_client *client; /* NULL: there is none to open channels at */
	struct list list;
	size_t n;
	size_t opening;
	bool starting; /* the next ones are being begun */
	/* Asks the guest to connect: conn->id is set. 0 or -errno. */
	int (*ask)(struct forward_conns *conns, struct forward_conn *conn);
	/* The socket on our side has failed: the guest is to be told. */
	void (*broke)(struct forward_conns *conns, struct forward_conn *conn);
};

enum forward_phase {
	FORWARD_QUEUED,  /* waits for its turn */
	FORWARD_OPENING, /* the guest is asked, or its channel being opened */
	FORWARD_JOINED,  /* bytes flow */
};

struct forward_conn {
	struct list_node node;
	struct forward_conns *conns;
	struct forward_spec *spec;
	enum forward_phase phase;
	uint64_t id;                       /* of the ForwardConnect; 0: the guest has begun it */
	uint64_t number;                   /* of the channel; 0: not granted yet */
	uint8_t token[POSTERN_TOKEN_SIZE]; /* of that */
	int fd;                            /* owned: our socket, until it is joined */
	int stream;                        /* owned: the channel, until it is joined */
	struct postern_channel *channel;   /* being opened */
	struct loop_io io;                 /* of that, then of our socket being connected */
	struct loop_timer late;
	struct relay relay;
	struct datagram_flow flow;
};

/* A stream that somebody has connected to us by; fd is owned from here on. It may be over before
 * this returns. */
void forward_conn_accept(struct forward_conns *conns, struct forward_spec *spec, int fd);

/* A peer of a UDP socket of ours (borrowed), and its first datagram. */
void forward_conn_accept_peer(struct forward_conns *conns, struct forward_spec *spec, int udp,
	const struct sockaddr_storage *peer, socklen_t len, const uint8_t *bytes, size_t n);

/* The guest has granted a channel, number and token (POSTERN_TOKEN_SIZE bytes), for a connection
 * that was asked for, or for one that it has begun. */
void forward_conn_granted(struct forward_conn *conn, uint64_t number, const uint8_t *token);
void forward_conn_begun(struct forward_conns *conns, struct forward_spec *spec, uint64_t number,
	const uint8_t *token);

/* That which the guest was asked for by this id, and no channel was granted for. NULL: none. */
struct forward_conn *forward_conn_asked(const struct forward_conns *conns, uint64_t id);

/* It did not come about, or is cut. */
void forward_conn_fail(struct forward_conn *conn);

/* Bytes so far. */
void forward_conn_count(const struct forward_conn *conn, uint64_t *to_guest, uint64_t *from_guest);
