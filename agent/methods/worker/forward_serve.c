/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connections of a forward. Each needs a channel: the broker is asked for one, its token goes
 * to the caller, and the caller's connection comes back from the broker.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/methods/forward_call.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/forward/control.h"
#include "proto/forward/datagram.h"
#include "proto/forward/relay.h"
#include "proto/list.h"
#include "proto/listener.h"
#include "proto/log.h"

#define CONNECTIONS_MAX 88 /* of the channels that an identity may have, some are left */
#define CONNECT_MS      10000
#define COUNT_MS        250
#define DOUBT_MS        20

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

/* ---- what the broker hears ---- */

static void tell_broker(
	struct serving *serving, enum inner_kind kind, uint64_t id, uint64_t from, uint64_t to)
{
	struct inner_message message = {.kind = (uint16_t)kind, .id = id, .arg = from, .aux = to};

	(void)inner_send(serving->channel->broker, &message, NULL, NULL, 0);
}

/* Bytes from the caller, and to it. */
static void counts(const struct connection *connection, uint64_t *up, uint64_t *down)
{
	*up = connection->datagrams ? connection->flow.from_stream : connection->relay.way[0].bytes;
	*down = connection->datagrams ? connection->flow.from_udp : connection->relay.way[1].bytes;
}

static void tell_count(struct connection *connection, enum inner_kind kind)
{
	counts(connection, &connection->told_up, &connection->told_down);
	tell_broker(connection->serving, kind, connection->grant.number, connection->told_up,
		connection->told_down);
}

static void on_count(struct loop_timer *timer)
{
	struct serving *serving = container_of(timer, struct serving, count);

	LIST_EACH(&serving->connections, node)
	{
		struct connection *connection = container_of(node, struct connection, node);
		uint64_t up, down;

		counts(connection, &up, &down);
		if (up != connection->told_up || down != connection->told_down)
			tell_count(connection, INNER_COUNT);
	}
	if (serving->connections_n > 0)
		loop_timer_set(&serving->loop, timer, monotonic_ns() + COUNT_MS * NSEC_PER_MSEC);
}

/* ---- connections ---- */

static void pause_listeners(struct serving *serving, bool pause)
{
	for (size_t i = 0; i < serving->forward->n_listen; i++) {
		struct listener *listener = &serving->places[i].listener;

		if (listener->fd < 0)
			continue;
		if (pause)
			listener_pause(listener);
		else
			listener_resume(listener);
	}
}

static void connection_free(struct connection *connection)
{
	struct serving *serving = connection->serving;

	loop_io_del(&connection->io);
	loop_timer_del(&connection->timer);
	/* Before its counts are gone. */
	if (connection->grant.number != 0)
		tell_count(connection, INNER_CLOSED);
	relay_stop(&connection->relay);
	datagram_stop(&connection->flow);
	(void)fd_close(connection->fd);
	list_remove(&connection->node);
	if (serving->connections_n-- == CONNECTIONS_MAX)
		pause_listeners(serving, false);
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

static struct connection *connection_new(struct serving *serving)
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
		loop_timer_set(
			&serving->loop, &serving->count, monotonic_ns() + COUNT_MS * NSEC_PER_MSEC);
	if (serving->connections_n == CONNECTIONS_MAX)
		pause_listeners(serving, true);
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

static void fail(struct connection *connection, int negative_errno)
{
	struct serving *serving = connection->serving;
	int r = connection->place ? 0 : say_failed(serving, connection->id, negative_errno);

	connection_free(connection);
	give_up(serving, r);
}

/* Both are there: the caller may come. */
static void offer(struct connection *connection)
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

static void want_grant(struct connection *connection)
{
	tell_broker(connection->serving, INNER_WANT_GRANT, connection->serial, 0, 0);
}

/* The socket is connected; datagrams are taken from here on. */
static void set_connected(struct connection *connection)
{
	loop_io_del(&connection->io);
	connection->connected = true;
	if (connection->datagrams && datagram_start(&connection->flow, &connection->serving->loop,
					     take_fd(&connection->fd)) < 0)
		fail(connection, -ENOMEM);
	else
		offer(connection);
}

static void on_connected(struct loop_io *io, uint32_t events)
{
	struct connection *connection = container_of(io, struct connection, io);
	int r = forward_connected(io->fd);

	(void)events;
	if (r < 0)
		fail(connection, r);
	else
		set_connected(connection);
}

static void on_late(struct loop_timer *timer)
{
	fail(container_of(timer, struct connection, timer), -ETIMEDOUT);
}

static struct connection *connection_of_channel(struct serving *serving, uint64_t number)
{
	LIST_EACH(&serving->connections, node)
	{
		struct connection *connection = container_of(node, struct connection, node);

		if (connection->grant.number == number)
			return connection;
	}
	return NULL;
}

/* It failed at the caller's side, or he had it cut. */
static void cut(struct serving *serving, uint64_t number)
{
	struct connection *connection = connection_of_channel(serving, number);

	if (!connection || !connection->open)
		return;
	relay_reset(&connection->relay);
	connection_free(connection);
}

/* The caller wants one. 0, or -errno for a caller that has to go. */
static int take_record(struct forward_control *control, const Postern__V1__ForwardRecord *record)
{
	struct serving *serving = container_of(control, struct serving, control);
	const Postern__V1__ForwardConnect *wish = record->connect;
	const struct forward_end *end;
	struct connection *connection;
	int r;

	if (record->kind_case == POSTERN__V1__FORWARD_RECORD__KIND_BROKEN) {
		cut(serving, record->broken->channel);
		return 0;
	}
	if (record->kind_case != POSTERN__V1__FORWARD_RECORD__KIND_CONNECT || !wish->has_id ||
		!wish->has_target || wish->target >= serving->forward->n_connect)
		return -EBADMSG;
	connection = connection_new(serving);
	if (!connection)
		return say_failed(serving, wish->id, -EUSERS);
	connection->id = wish->id;
	end = &serving->forward->connect[wish->target].end;
	connection->datagrams = end->transport == FORWARD_UDP;
	r = forward_connect(end, &connection->fd);
	connection->io.fn = on_connected;
	connection->timer.fn = on_late;
	if (r > 0 && loop_io_add(&serving->loop, &connection->io, connection->fd, EPOLLOUT) < 0)
		r = -ENOMEM;
	if (r < 0) {
		connection_free(connection);
		return say_failed(serving, wish->id, r);
	}
	loop_timer_set(
		&serving->loop, &connection->timer, monotonic_ns() + CONNECT_MS * NSEC_PER_MSEC);
	want_grant(connection);
	if (r == 0)
		set_connected(connection);
	return 0;
}

/* ---- listeners ---- */

static void on_accept(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct place *place = container_of(listener, struct place, listener);
	struct connection *connection = connection_new(place->serving);

	(void)peer;
	if (!connection) {
		(void)fd_close(fd);
		return;
	}
	connection->place = place;
	connection->fd = fd;
	connection->connected = true;
	want_grant(connection);
}

static struct connection *connection_of_peer(
	const struct place *place, const struct sockaddr_storage *peer, socklen_t len)
{
	LIST_EACH(&place->serving->connections, node)
	{
		struct connection *connection = container_of(node, struct connection, node);

		if (connection->place == place && connection->flow.peer_len == len &&
			memcmp(&connection->flow.peer, peer, len) == 0)
			return connection;
	}
	return NULL;
}

static void on_datagram(struct loop_io *io, uint32_t events)
{
	struct place *place = container_of(io, struct place, udp);
	static uint8_t bytes[DATAGRAM_MOST];
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	struct connection *connection;
	ssize_t n = recvfrom(
		io->fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&peer, &len);

	(void)events;
	if (n < 0)
		return;
	connection = connection_of_peer(place, &peer, len);
	if (!connection) {
		connection = connection_new(place->serving);
		if (!connection)
			return;
		connection->place = place;
		connection->connected = connection->datagrams = true;
		datagram_start_peer(&connection->flow, &place->serving->loop, io->fd, &peer, len);
		want_grant(connection);
	}
	datagram_take(&connection->flow, bytes, (size_t)n);
}

static int start_listeners(struct serving *serving)
{
	int r = 0;

	for (size_t i = 0; i < serving->forward->n_listen && r == 0; i++) {
		const struct forward_place *from = &serving->forward->listen[i];
		struct place *place = &serving->places[i];

		place->serving = serving;
		place->index = (int)i;
		place->listener.fd = -EBADF;
		place->udp.fn = on_datagram;
		r = from->end.transport == FORWARD_UDP
			    ? loop_io_add(&serving->loop, &place->udp, from->fd, EPOLLIN)
			    : listener_start(&place->listener, &serving->loop, from->fd, on_accept);
	}
	return r;
}

/* ---- what the broker says ---- */

static void take_grant(
	struct serving *serving, const struct inner_message *message, const struct grant *grant)
{
	LIST_EACH(&serving->connections, node)
	{
		struct connection *connection = container_of(node, struct connection, node);

		if (connection->serial != message->id)
			continue;
		connection->grant = *grant;
		if (grant->number == 0)
			fail(connection, -EUSERS);
		else
			offer(connection);
		return;
	}
	/* It has failed meanwhile. */
	if (grant->number != 0)
		tell_broker(serving, INNER_CLOSED, grant->number, 0, 0);
}

/* The caller's connection, or word that it does not come. */
static int join(struct connection *connection, int *fd)
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

/* All connections end with the first channel, and not as if they had ended well. */
static void stop(struct serving *serving)
{
	LIST_EACH(&serving->connections, node)
	relay_reset(&container_of(node, struct connection, node)->relay);
	loop_stop(&serving->loop, 0);
}

static void on_broker(struct loop_io *io, uint32_t events)
{
	struct serving *serving = container_of(io, struct serving, broker);
	struct connection *connection;
	struct inner_message message;
	int fds[INNER_FDS_MAX], r;
	struct grant grant = {0};
	size_t n_fds;

	(void)events;
	r = inner_receive(io->fd, &message, &grant, sizeof(grant), fds, &n_fds);
	if (r <= 0) {
		stop(serving);
		return;
	}
	connection = connection_of_channel(serving, message.id);
	if (message.kind == INNER_GRANT && message.body_len == sizeof(grant))
		take_grant(serving, &message, &grant);
	else if (message.kind == INNER_CUT && connection)
		cut(serving, message.id);
	else if (message.kind == INNER_CHANNEL && connection && !connection->open &&
		 join(connection, &fds[0]) < 0)
		connection_free(connection);
	explicit_bzero(&grant, sizeof(grant));
	inner_close_fds(fds);
}

static void on_control_ended(struct forward_control *control, int r)
{
	struct serving *serving = container_of(control, struct serving, control);

	if (r == -EBADMSG)
		log_warning("a forward ends: its caller sent what is no record of it");
	stop(serving);
}

/* What listening needed is given up; a socket's file may belong to anybody. */
static int give_up_rights(const struct forward *forward)
{
	uint64_t keep = 0;

	for (size_t i = 0; i < forward->n_connect; i++)
		if (forward->connect[i].end.transport == FORWARD_UNIX)
			keep = CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH);
	for (size_t i = 0; i < forward->n_listen; i++)
		if (forward->listen[i].end.transport == FORWARD_UNIX)
			keep = CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH);
	return worker_raise(keep);
}

void forward_serve(struct worker_channel *channel, int socket)
{
	static struct serving serving; /* too large for a stack */
	int r;

	serving.channel = channel;
	serving.forward = channel->state;
	serving.count.fn = on_count;
	serving.broker.fn = on_broker;
	serving.control.take = take_record;
	serving.control.ended = on_control_ended;
	list_init(&serving.connections);
	relay_keep_memory();
	r = give_up_rights(serving.forward);
	if (r == 0)
		r = loop_init(&serving.loop);
	if (r == 0)
		r = loop_io_add(&serving.loop, &serving.broker, channel->broker, EPOLLIN);
	if (r == 0)
		r = start_listeners(&serving);
	if (r == 0)
		r = forward_control_start(&serving.control, &serving.loop, socket);
	if (r == 0)
		r = loop_run(&serving.loop);
	if (r < 0)
		log_warning("a forward ends: %s", strerror(-r));
	for (size_t i = 0; i < serving.forward->n_listen; i++)
		forward_unlisten(&serving.forward->listen[i].end);
}
