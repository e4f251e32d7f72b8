/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A forward at work. Each connection needs a channel: the broker is asked for one, its token goes
 * to the caller, and the caller's connection comes back from the broker.
 */
#pragma once

#include "agent/methods/forward_call.h"
#include "proto/forward/control.h"
#include "proto/forward/datagram.h"
#include "proto/forward/relay.h"
#include "proto/list.h"
#include "proto/listener.h"

struct serving;

/* One of the caller's ends, by their place. */
struct place {
	struct serving *serving;
	struct listener listener; /* of streams */
	struct loop_io udp;       /* of datagrams */
	int index;
};

struct connection {
	struct list_node node;
	struct serving *serving;
	uint64_t serial;     /* ours: what is asked of the broker bears it */
	uint64_t id;         /* of the caller's ForwardConnect */
	struct place *place; /* the listener that it came by; NULL: the caller wanted it */
	int fd;              /* owned: a stream that is not joined yet */
	bool connected;
	struct grant grant; /* number 0: not there yet */
	struct loop_io io;  /* until it is connected */
	struct loop_timer timer;
	bool datagrams;
	bool open; /* the caller has come */
	struct relay relay;
	struct datagram_flow flow;
	uint64_t told_up, told_down; /* bytes, as the broker knows them */
};

struct serving {
	struct worker_channel *channel;
	const struct forward *forward;
	struct loop loop;
	struct loop_io broker;
	struct loop_timer count;
	struct forward_control control;
	struct place places[FORWARD_ENDS_MAX];
	struct list connections;
	size_t connections_n;
	uint64_t last_serial;
};

/* ---- forward_serve.c ---- */

/* Says something to the broker: of a channel, with its bytes from the caller and to it, or other
 * numbers. */
void serving_tell(
	struct serving *serving, enum inner_kind kind, uint64_t id, uint64_t from, uint64_t to);

/* Counts are told from now on, a few times a second, while there are connections. */
void serving_count(struct serving *serving);

/* ---- forward_listen.c ---- */

/* Takes connections and datagrams where it listens. 0 or -errno. */
int listen_start(struct serving *serving);

/* There are too many connections; there is room again. */
void listen_pause(struct serving *serving, bool pause);

/* ---- forward_connection.c ---- */

/* One more; NULL: there are too many, or no memory. Its first steps are the caller's to do. */
struct connection *connection_new(struct serving *serving);

/* Ends it, whatever it does; the broker hears that its channel is closed. */
void connection_free(struct connection *connection);

/* It does not come about: the caller who wanted it is told. */
void connection_fail(struct connection *connection, int negative_errno);

/* Asks the broker for a channel; answered by connection_offer() once the grant is there. */
void connection_want_grant(struct connection *connection);

/* Offers it to the caller, if it is connected and has a grant. */
void connection_offer(struct connection *connection);

/* Begins what the caller wants: a connection to an end. 0; -errno: the caller has to go. */
int connection_begin(struct serving *serving, uint64_t id, const struct forward_end *end);

/* The caller's connection (*fd is taken), or word that it does not come (-EBADF). 0 or -errno. */
int connection_join(struct connection *connection, int *fd);

/* That of a channel; NULL: none. */
struct connection *connection_of_channel(struct serving *serving, uint64_t number);

/* Bytes from the caller, and to it. */
void connection_bytes(const struct connection *connection, uint64_t *up, uint64_t *down);

/* Tells the broker these with INNER_COUNT or INNER_CLOSED. */
void connection_tell(struct connection *connection, enum inner_kind kind);
