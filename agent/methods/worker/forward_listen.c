/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/methods/forward_serving.h"
#include "proto/cleanup.h"

void listen_pause(struct serving *serving, bool pause)
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
	connection_want_grant(connection);
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
		connection_want_grant(connection);
	}
	datagram_take(&connection->flow, bytes, (size_t)n);
}

int listen_start(struct serving *serving)
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
