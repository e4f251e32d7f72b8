/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/forward/datagram.h"

#include <errno.h>
#include <sys/epoll.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

#define HEAD      2
#define OUT_MAX   (256u << 10) /* what waits for the stream */
#define TURN_MOST 64           /* datagrams in one turn */

void datagram_stop(struct datagram_flow *flow)
{
	if (!flow->loop)
		return;
	loop_io_del(&flow->stream_io);
	loop_io_del(&flow->udp_io);
	loop_timer_del(&flow->idle);
	flow->stream = fd_close(flow->stream);
	if (flow->connected)
		flow->udp = fd_close(flow->udp);
	buffer_clear(&flow->in);
	buffer_clear(&flow->out);
	flow->loop = NULL;
}

static void finish(struct datagram_flow *flow)
{
	datagram_stop(flow);
	flow->done(flow);
}

static void on_idle(struct loop_timer *timer)
{
	finish(container_of(timer, struct datagram_flow, idle));
}

static void still_used(struct datagram_flow *flow)
{
	loop_timer_set(flow->loop, &flow->idle, monotonic_ns() + DATAGRAM_IDLE_MS * NSEC_PER_MSEC);
}

static int flush(struct datagram_flow *flow)
{
	uint32_t events = EPOLLIN;
	int r;

	if (flow->stream < 0)
		return 0;
	r = buffer_send(&flow->out, flow->stream, NULL);
	if (buffer_len(&flow->out) > 0)
		events |= EPOLLOUT;
	return r < 0 ? r : loop_io_set(&flow->stream_io, events);
}

static int take(struct datagram_flow *flow, const uint8_t *bytes, size_t len)
{
	const uint8_t head[HEAD] = {(uint8_t)len, (uint8_t)(len >> 8)};
	int r;

	still_used(flow);
	if (buffer_len(&flow->out) + HEAD + len > OUT_MAX) {
		flow->lost++;
		return 0;
	}
	flow->from_udp += len;
	r = buffer_append(&flow->out, head, sizeof(head));
	return r < 0 ? r : buffer_append(&flow->out, bytes, len);
}

void datagram_take(struct datagram_flow *flow, const uint8_t *bytes, size_t len)
{
	if (take(flow, bytes, len) < 0 || flush(flow) < 0)
		finish(flow);
}

static void on_udp(struct loop_io *io, uint32_t events)
{
	struct datagram_flow *flow = container_of(io, struct datagram_flow, udp_io);
	static uint8_t bytes[DATAGRAM_MOST];
	int left = TURN_MOST, r = 0;

	(void)events;
	while (r == 0 && left-- > 0) {
		ssize_t n = recv(flow->udp, bytes, sizeof(bytes), MSG_DONTWAIT);

		/* That nobody is there is told like this; somebody may come. */
		if (n < 0 && (errno == ECONNREFUSED || errno == EINTR))
			continue;
		if (n < 0)
			break;
		r = take(flow, bytes, (size_t)n);
	}
	if (r < 0 || flush(flow) < 0)
		finish(flow);
}

/* What cannot be sent is lost. */
static void give(struct datagram_flow *flow, const uint8_t *bytes, size_t len)
{
	const struct sockaddr *peer = (const struct sockaddr *)&flow->peer;

	still_used(flow);
	if (sendto(flow->udp, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		    flow->connected ? NULL : peer, flow->connected ? 0 : flow->peer_len) >= 0)
		flow->from_stream += len;
}

static int read_stream(struct datagram_flow *flow)
{
	uint8_t *room = buffer_reserve(&flow->in, HEAD + DATAGRAM_MOST);
	ssize_t n = room ? recv(flow->stream, room, HEAD + DATAGRAM_MOST, MSG_DONTWAIT) : -1;

	if (!room || n == 0)
		return room ? -ECONNRESET : -ENOMEM;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	buffer_commit(&flow->in, (size_t)n);
	while (buffer_len(&flow->in) >= HEAD) {
		const uint8_t *at = buffer_front(&flow->in);
		size_t len = (size_t)(at[0] | at[1] << 8);

		if (buffer_len(&flow->in) < HEAD + len)
			break;
		give(flow, at + HEAD, len);
		buffer_consume(&flow->in, HEAD + len);
	}
	return 0;
}

static void on_stream(struct loop_io *io, uint32_t events)
{
	struct datagram_flow *flow = container_of(io, struct datagram_flow, stream_io);
	int r = 0;

	if (events & ~(uint32_t)EPOLLOUT)
		r = read_stream(flow);
	if (r == 0)
		r = flush(flow);
	if (r < 0)
		finish(flow);
}

static void start(struct datagram_flow *flow, struct loop *loop, int udp)
{
	flow->loop = loop;
	flow->udp = udp;
	flow->stream = -EBADF;
	flow->stream_io.fn = on_stream;
	flow->udp_io.fn = on_udp;
	flow->idle.fn = on_idle;
	still_used(flow);
}

int datagram_start(struct datagram_flow *flow, struct loop *loop, int udp)
{
	int r;

	start(flow, loop, udp);
	flow->connected = true;
	r = loop_io_add(loop, &flow->udp_io, udp, EPOLLIN);
	if (r < 0)
		datagram_stop(flow);
	return r;
}

void datagram_start_peer(struct datagram_flow *flow, struct loop *loop, int udp,
	const struct sockaddr_storage *peer, socklen_t peer_len)
{
	start(flow, loop, udp);
	flow->peer = *peer;
	flow->peer_len = peer_len;
}

int datagram_join(struct datagram_flow *flow, int stream)
{
	int r = loop_io_add(flow->loop, &flow->stream_io, stream, EPOLLIN);

	flow->stream = stream;
	if (r == 0)
		r = flush(flow);
	if (r < 0)
		datagram_stop(flow);
	return r;
}
