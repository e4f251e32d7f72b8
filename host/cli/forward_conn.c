/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

#define OPEN_MS      15000 /* for channel and connection together */
#define CONNS_MOST   256   /* more than an agent serves; whoever comes then is turned away */
#define OPENING_MOST 16
#define DOUBT_MS     20

_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT, "what poll() waits for, epoll does");

static void start_next(struct forward_conns *conns);

void forward_conn_count(const struct forward_conn *conn, uint64_t *to_guest, uint64_t *from_guest)
{
	bool datagrams = conn->spec->host.transport == FORWARD_UDP;

	*to_guest = datagrams ? conn->flow.from_udp : conn->relay.way[1].bytes;
	*from_guest = datagrams ? conn->flow.from_stream : conn->relay.way[0].bytes;
}

static void leave_phase(struct forward_conn *conn, enum forward_phase next)
{
	conn->conns->opening -= conn->phase == FORWARD_OPENING;
	conn->conns->opening += next == FORWARD_OPENING;
	conn->phase = next;
}

static void conn_free(struct forward_conn *conn)
{
	struct forward_conns *conns = conn->conns;
	uint64_t to_guest, from_guest;

	forward_conn_count(conn, &to_guest, &from_guest);
	conn->spec->to_guest += to_guest;
	conn->spec->from_guest += from_guest;
	conn->spec->open--;
	leave_phase(conn, FORWARD_JOINED);
	loop_io_del(&conn->io);
	loop_timer_del(&conn->late);
	relay_stop(&conn->relay);
	datagram_stop(&conn->flow);
	postern_channel_free(conn->channel);
	(void)fd_close(conn->fd);
	(void)fd_close(conn->stream);
	list_remove(&conn->node);
	conns->n--;
	free(conn);
	start_next(conns);
}

/* Whoever waits at our side is told at once, and whoever reads that this was not all. */
void forward_conn_fail(struct forward_conn *conn)
{
	const struct linger at_once = {.l_onoff = 1};

	if (conn->fd >= 0)
		(void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	conn->spec->failed += conn->phase != FORWARD_JOINED;
	relay_reset(&conn->relay);
	conn_free(conn);
}

static void on_relay_broke(struct relay *relay)
{
	struct forward_conn *conn = container_of(relay, struct forward_conn, relay);

	conn->conns->broke(conn->conns, conn);
}

static void on_relay_done(struct relay *relay)
{
	conn_free(container_of(relay, struct forward_conn, relay));
}

static void on_flow_done(struct datagram_flow *flow)
{
	conn_free(container_of(flow, struct forward_conn, flow));
}

static void on_late(struct loop_timer *timer)
{
	forward_conn_fail(container_of(timer, struct forward_conn, late));
}

static struct forward_conn *conn_new(struct forward_conns *conns, struct forward_spec *spec)
{
	struct forward_conn *conn = conns->n < CONNS_MOST ? calloc(1, sizeof(*conn)) : NULL;

	if (!conn)
		return NULL;
	conns->n++;
	conn->conns = conns;
	conn->spec = spec;
	conn->fd = conn->stream = -EBADF;
	conn->late.fn = on_late;
	conn->relay.doubt_ms = DOUBT_MS;
	conn->relay.broke = on_relay_broke;
	conn->relay.done = on_relay_done;
	conn->flow.done = on_flow_done;
	list_append(&conns->list, &conn->node);
	spec->connections++;
	spec->open++;
	return conn;
}

/* Both sides stand. 0 or -errno. */
static int join(struct forward_conn *conn)
{
	struct forward_conns *conns = conn->conns;
	int r = 0;

	loop_io_del(&conn->io);
	loop_timer_del(&conn->late);
	if (conn->spec->host.transport != FORWARD_UDP) {
		r = relay_start(
			&conn->relay, conns->loop, take_fd(&conn->stream), take_fd(&conn->fd));
	} else {
		/* That of a peer of ours has begun with its first datagram. */
		if (!conn->flow.loop)
			r = datagram_start(&conn->flow, conns->loop, take_fd(&conn->fd));
		if (r == 0)
			r = datagram_join(&conn->flow, take_fd(&conn->stream));
	}
	if (r < 0)
		return r;
	leave_phase(conn, FORWARD_JOINED);
	start_next(conns);
	return 0;
}

static void on_connected(struct loop_io *io, uint32_t events)
{
	struct forward_conn *conn = container_of(io, struct forward_conn, io);

	(void)events;
	if (forward_connected(io->fd) < 0 || join(conn) < 0)
		forward_conn_fail(conn);
}

/* The channel stands; where the guest has begun it our side does not yet. 0 or -errno. */
static int go_on(struct forward_conn *conn)
{
	int r = conn->id == 0 ? forward_connect(&conn->spec->host, &conn->fd) : 0;

	if (r <= 0)
		return r < 0 ? r : join(conn);
	conn->io.fn = on_connected;
	return loop_io_add(conn->conns->loop, &conn->io, conn->fd, EPOLLOUT);
}

/* The descriptor stays the same while a channel is opened. */
static void on_channel(struct loop_io *io, uint32_t events)
{
	struct forward_conn *conn = container_of(io, struct forward_conn, io);
	int r = postern_channel_go_on(conn->channel, &conn->stream, NULL);

	(void)events;
	if (r == 0)
		r = loop_io_set(io, (uint32_t)postern_channel_events(conn->channel));
	if (r > 0) {
		loop_io_del(io);
		postern_channel_free(take_ptr(conn->channel));
		r = go_on(conn);
	}
	if (r < 0)
		forward_conn_fail(conn);
}

static int open_channel(struct forward_conn *conn)
{
	int r = postern_channel_start(conn->conns->client, conn->token, &conn->channel, NULL);

	explicit_bzero(conn->token, sizeof(conn->token));
	conn->io.fn = on_channel;
	if (r < 0)
		return r;
	return loop_io_add(conn->conns->loop, &conn->io, postern_channel_fd(conn->channel),
		(uint32_t)postern_channel_events(conn->channel));
}

/* Its turn. 0 or -errno. */
static int start(struct forward_conn *conn)
{
	leave_phase(conn, FORWARD_OPENING);
	loop_timer_set(conn->conns->loop, &conn->late, monotonic_ns() + OPEN_MS * NSEC_PER_MSEC);
	return conn->number ? open_channel(conn) : conn->conns->ask(conn->conns, conn);
}

static void start_next(struct forward_conns *conns)
{
	/* Those that fail here come back to this. */
	if (conns->starting || !conns->client)
		return;
	conns->starting = true;
	LIST_EACH(&conns->list, node)
	{
		struct forward_conn *conn = container_of(node, struct forward_conn, node);

		if (conns->opening >= OPENING_MOST)
			break;
		if (conn->phase == FORWARD_QUEUED && start(conn) < 0)
			forward_conn_fail(conn);
	}
	conns->starting = false;
}

void forward_conn_accept(struct forward_conns *conns, struct forward_spec *spec, int fd)
{
	struct forward_conn *conn = conn_new(conns, spec);

	if (!conn) {
		(void)fd_close(fd);
		return;
	}
	conn->fd = fd;
	start_next(conns);
}

void forward_conn_accept_peer(struct forward_conns *conns, struct forward_spec *spec, int udp,
	const struct sockaddr_storage *peer, socklen_t len, const uint8_t *bytes, size_t n)
{
	struct forward_conn *conn = conn_new(conns, spec);

	if (!conn)
		return;
	datagram_start_peer(&conn->flow, conns->loop, udp, peer, len);
	datagram_take(&conn->flow, bytes, n);
	start_next(conns);
}

void forward_conn_granted(struct forward_conn *conn, uint64_t number, const uint8_t *token)
{
	conn->number = number;
	memcpy(conn->token, token, sizeof(conn->token));
	if (open_channel(conn) < 0)
		forward_conn_fail(conn);
}

void forward_conn_begun(struct forward_conns *conns, struct forward_spec *spec, uint64_t number,
	const uint8_t *token)
{
	struct forward_conn *conn = conn_new(conns, spec);

	if (!conn)
		return;
	conn->number = number;
	memcpy(conn->token, token, sizeof(conn->token));
	start_next(conns);
}

struct forward_conn *forward_conn_asked(const struct forward_conns *conns, uint64_t id)
{
	LIST_EACH(&conns->list, node)
	{
		struct forward_conn *conn = container_of(node, struct forward_conn, node);

		if (conn->phase == FORWARD_OPENING && conn->id == id && conn->number == 0)
			return conn;
	}
	return NULL;
}
