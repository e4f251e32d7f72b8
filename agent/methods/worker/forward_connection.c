/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/methods/forward_serving.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define CONNECTIONS_MAX 88 /* of the channels that an identity may have, some are left */
#define CONNECT_MS      10000
#define DOUBT_MS        20

/* Bytes from the caller, and to it. */
void connection_bytes(const struct connection *connection, uint64_t *up, uint64_t *down)
{
	*up = connection->datagrams ? connection->flow.from_stream : connection->relay.way[0].bytes;
	*down = connection->datagrams ? connection->flow.from_udp : connection->relay.way[1].bytes;
}

void connection_tell(struct connection *connection, enum inner_kind kind)
{
	connection_bytes(connection, &connection->told_up, &connection->told_down);
	serving_tell(connection->serving, kind, connection->grant.number, connection->told_up,
		connection->told_down);
}

void connection_free(struct connection *connection)
{
	struct serving *serving = connection->serving;

	loop_io_del(&connection->io);
	loop_timer_del(&connection->timer);
	/* Before its counts are gone. */
	if (connection->grant.number != 0)
		connection_tell(connection, INNER_CLOSED);
	relay_stop(&connection->relay);
	datagram_stop(&connection->flow);
	(void)fd_close(connection->fd);
	list_remove(&connection->node);
	if (serving->connections_n-- == CONNECTIONS_MAX)
		listen_pause(serving, false);
	explicit_bzero(connection->grant.token, TOKEN_SIZE);
	free(connection);
}

/* Who reads no answers gets none any more. */
static void give_up(struct serving *serving, int r)
{
	if (r < 0)
		loop_stop(&serving->loop, 0);
}

static void on_relay_done(struct relay *relay)
{
	connection_free(container_of(relay, struct connection, relay));
}

static void on_flow_done(struct datagram_flow *flow)
{
	connection_free(container_of(flow, struct connection, flow));
}

/* The caller resets his side. */
static void on_relay_broke(struct relay *relay)
{
	struct connection *connection = container_of(relay, struct connection, relay);
	Postern__V1__ForwardBroken broken = POSTERN__V1__FORWARD_BROKEN__INIT;
	Postern__V1__ForwardRecord record = POSTERN__V1__FORWARD_RECORD__INIT;

	broken.has_channel = true;
	broken.channel = connection->grant.number;
	record.kind_case = POSTERN__V1__FORWARD_RECORD__KIND_BROKEN;
	record.broken = &broken;
	give_up(connection->serving, forward_control_say(&connection->serving->control, &record));
}

struct connection *connection_new(struct serving *serving)
{
	struct connection *connection =
		serving->connections_n < CONNECTIONS_MAX ? calloc(1, sizeof(*connection)) : NULL;

	if (!connection)
		return NULL;
	connection->serving = serving;
	connection->fd = -EBADF;
	connection->serial = ++serving->last_serial;
	connection->relay.doubt_ms = DOUBT_MS;
	connection->relay.broke = on_relay_broke;
	connection->relay.done = on_relay_done;
	connection->flow.done = on_flow_done;
	list_append(&serving->connections, &connection->node);
	if (serving->connections_n++ == 0)
		serving_count(serving);
	if (serving->connections_n == CONNECTIONS_MAX)
		listen_pause(serving, true);
	return connection;
}

static int say_failed(struct serving *serving, uint64_t id, int negative_errno)
{
	Postern__V1__ForwardFailed failed = POSTERN__V1__FORWARD_FAILED__INIT;
	Postern__V1__ForwardRecord record = POSTERN__V1__FORWARD_RECORD__INIT;

	failed.has_id = failed.has_sys_errno = true;
	failed.id = id;
	failed.sys_errno = -negative_errno;
	record.kind_case = POSTERN__V1__FORWARD_RECORD__KIND_FAILED;
	record.failed = &failed;
	return forward_control_say(&serving->control, &record);
}

void connection_fail(struct connection *connection, int negative_errno)
{
	struct serving *serving = connection->serving;
	int r = connection->place ? 0 : say_failed(serving, connection->id, negative_errno);

	connection_free(connection);
	give_up(serving, r);
}

/* Both are there: the caller may come. */
void connection_offer(struct connection *connection)
{
	Postern__V1__Channel channel = POSTERN__V1__CHANNEL__INIT;
	Postern__V1__ForwardOpened opened = POSTERN__V1__FORWARD_OPENED__INIT;
	Postern__V1__ForwardRecord record = POSTERN__V1__FORWARD_RECORD__INIT;

	if (!connection->connected || connection->grant.number == 0)
		return;
	loop_timer_del(&connection->timer);
	channel.has_number = channel.has_token = true;
	channel.number = connection->grant.number;
	channel.token = (ProtobufCBinaryData){.data = connection->grant.token, .len = TOKEN_SIZE};
	if (connection->place) {
		opened.has_listener = true;
		opened.listener = (uint32_t)connection->place->index;
	} else {
		opened.has_id = true;
		opened.id = connection->id;
	}
	opened.channel = &channel;
	record.kind_case = POSTERN__V1__FORWARD_RECORD__KIND_OPENED;
	record.opened = &opened;
	give_up(connection->serving, forward_control_say(&connection->serving->control, &record));
	explicit_bzero(connection->grant.token, TOKEN_SIZE);
}

void connection_want_grant(struct connection *connection)
{
	serving_tell(connection->serving, INNER_WANT_GRANT, connection->serial, 0, 0);
}

/* The socket is connected; datagrams are taken from here on. */
static void set_connected(struct connection *connection)
{
	loop_io_del(&connection->io);
	connection->connected = true;
	if (connection->datagrams && datagram_start(&connection->flow, &connection->serving->loop,
					     take_fd(&connection->fd)) < 0)
		connection_fail(connection, -ENOMEM);
	else
		connection_offer(connection);
}

static void on_connected(struct loop_io *io, uint32_t events)
{
	struct connection *connection = container_of(io, struct connection, io);
	int r = forward_connected(io->fd);

	(void)events;
	if (r < 0)
		connection_fail(connection, r);
	else
		set_connected(connection);
}

static void on_late(struct loop_timer *timer)
{
	connection_fail(container_of(timer, struct connection, timer), -ETIMEDOUT);
}

struct connection *connection_of_channel(struct serving *serving, uint64_t number)
{
	LIST_EACH(&serving->connections, node)
	{
		struct connection *connection = container_of(node, struct connection, node);

		if (connection->grant.number == number)
			return connection;
	}
	return NULL;
}

int connection_begin(struct serving *serving, uint64_t id, const struct forward_end *end)
{
	struct connection *connection = connection_new(serving);
	int r;

	if (!connection)
		return say_failed(serving, id, -EUSERS);
	connection->id = id;
	connection->datagrams = end->transport == FORWARD_UDP;
	r = forward_connect(end, &connection->fd);
	connection->io.fn = on_connected;
	connection->timer.fn = on_late;
	if (r > 0 && loop_io_add(&serving->loop, &connection->io, connection->fd, EPOLLOUT) < 0)
		r = -ENOMEM;
	if (r < 0) {
		connection_free(connection);
		return say_failed(serving, id, r);
	}
	loop_timer_set(
		&serving->loop, &connection->timer, monotonic_ns() + CONNECT_MS * NSEC_PER_MSEC);
	connection_want_grant(connection);
	if (r == 0)
		set_connected(connection);
	return 0;
}

/* The caller's connection, or word that it does not come. */
int connection_join(struct connection *connection, int *fd)
{
	struct serving *serving = connection->serving;

	if (*fd < 0 || send(*fd, "\1", 1, MSG_NOSIGNAL) != 1)
		return -ECONNRESET;
	connection->open = true;
	if (connection->datagrams)
		return datagram_join(&connection->flow, take_fd(fd));
	return relay_start(
		&connection->relay, &serving->loop, take_fd(fd), take_fd(&connection->fd));
}
