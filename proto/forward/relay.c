/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/forward/relay.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

#define PIECE       (256u << 10)
#define PIECES_MOST 4 /* in one turn, of who sends without pause */
#define BROKEN_MS   5000

enum { CHANNEL, SOCKET };

void relay_keep_memory(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, 4 * PIECE);
	(void)mallopt(M_TRIM_THRESHOLD, 16 * PIECE);
}

static bool is_started(const struct relay *relay)
{
	return relay->done && relay->io[0].fn;
}

void relay_stop(struct relay *relay)
{
	if (!is_started(relay))
		return;
	loop_timer_del(&relay->wait);
	for (int i = 0; i < 2; i++) {
		loop_io_del(&relay->io[i]);
		relay->fd[i] = fd_close(relay->fd[i]);
		buffer_clear(&relay->way[i].held);
		relay->io[i].fn = NULL;
	}
}

void relay_reset(struct relay *relay)
{
	const struct linger at_once = {.l_onoff = 1};

	for (int i = 0; i < 2 && is_started(relay); i++)
		(void)setsockopt(relay->fd[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	relay_stop(relay);
}

/* Who takes no more has no use for the rest. */
static void discard(struct relay_way *way)
{
	buffer_clear(&way->held);
	way->ended = way->told = true;
}

/* What a failed write to a side means: it reads no more, or (-errno) it is broken. */
static int write_failed(struct relay *relay, int i)
{
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	if (errno == ECONNRESET) {
		relay->failed = i;
		return -ECONNRESET;
	}
	discard(&relay->way[!i]);
	return 0;
}

/* Writes what the other takes, keeps the rest. 0 or -errno. */
static int pass(struct relay *relay, int i, const uint8_t *bytes, size_t len)
{
	struct relay_way *way = &relay->way[i];
	ssize_t n = send(relay->fd[!i], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	int r;

	if (n < 0) {
		r = write_failed(relay, !i);
		if (r < 0 || way->told)
			return r;
		n = 0;
	}
	way->bytes += (uint64_t)n;
	return (size_t)n < len ? buffer_append(&way->held, bytes + n, len - (size_t)n) : 0;
}

static int pass_held(struct relay *relay, int i)
{
	struct relay_way *way = &relay->way[i];
	size_t sent = 0;
	int r = buffer_send(&way->held, relay->fd[!i], &sent);

	way->bytes += sent;
	errno = -r;
	return r < 0 ? write_failed(relay, !i) : 0;
}

/* 1: there may be more; 0: all is done that can be; -errno, and which side failed. */
static int move_once(struct relay *relay, int i)
{
	struct relay_way *way = &relay->way[i];
	static uint8_t bytes[PIECE];
	ssize_t n;
	int r = buffer_len(&way->held) > 0 ? pass_held(relay, i) : 0;

	if (r < 0 || way->ended || buffer_len(&way->held) > 0)
		return r;
	n = recv(relay->fd[i], bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0) {
		relay->failed = i;
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	}
	way->ended = n == 0;
	r = n > 0 ? pass(relay, i, bytes, (size_t)n) : 0;
	return r < 0 ? r : n > 0;
}

/* A vsock whose peer has closed it altogether looks as after a half-close; only sending tells, be
 * it nothing (vsock_connectible_sendmsg() of Linux 6.1 looks before it counts). */
static bool takes_no_more(const struct relay *relay, int i)
{
	return send(relay->fd[i], "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	       errno != EINTR;
}

/* The channel's other end closed it altogether while we still send: who served it may have died. */
static bool is_doubtful(struct relay *relay)
{
	if (relay->wait.loop)
		return true;
	if (relay->doubt_ms == 0 || relay->way[SOCKET].ended || !takes_no_more(relay, CHANNEL))
		return false;
	loop_timer_set(relay->io[CHANNEL].loop, &relay->wait,
		monotonic_ns() + relay->doubt_ms * NSEC_PER_MSEC);
	return true;
}

static int move(struct relay *relay, int i)
{
	struct relay_way *way = &relay->way[i];
	int left = PIECES_MOST, r;

	do
		r = move_once(relay, i);
	while (r > 0 && --left > 0);
	relay->more[i] = r > 0;
	if (r == 0 && way->ended && !way->told && buffer_len(&way->held) == 0 &&
		!(i == CHANNEL && is_doubtful(relay))) {
		way->told = true;
		(void)shutdown(relay->fd[!i], SHUT_WR);
	}
	return r < 0 ? r : 0;
}

/* What to wait for. Of one that is hung, each change is told once: its state would wake us over and
 * over. */
static int update(struct relay *relay, int i)
{
	const struct relay_way *from = &relay->way[i], *to = &relay->way[!i];
	uint32_t events = EPOLLRDHUP | (relay->hung[i] && !relay->more[i] ? EPOLLET : 0);

	if (!from->ended && buffer_len(&from->held) == 0)
		events |= EPOLLIN;
	if (buffer_len(&to->held) > 0)
		events |= EPOLLOUT;
	return loop_io_set(&relay->io[i], events);
}

static void finish(struct relay *relay)
{
	relay_stop(relay);
	relay->done(relay);
}

static void go_on(struct relay *relay);

static void on_waited(struct loop_timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, wait);

	relay->doubt_ms = 0;
	if (relay->fd[SOCKET] >= 0)
		go_on(relay);
	else
		finish(relay);
}

/* The socket has failed. The channel's end is waited for, and nothing else of it. */
static void break_off(struct relay *relay)
{
	struct loop *loop = relay->io[CHANNEL].loop;

	loop_io_del(&relay->io[SOCKET]);
	relay->fd[SOCKET] = fd_close(relay->fd[SOCKET]);
	loop_timer_set(loop, &relay->wait, monotonic_ns() + BROKEN_MS * NSEC_PER_MSEC);
	/* Its other end has said its last, and may wait for ours: it is told all the same. */
	if (loop_io_set(&relay->io[CHANNEL], EPOLLRDHUP | EPOLLET) < 0)
		finish(relay);
	else
		relay->broke(relay);
}

static void go_on(struct relay *relay)
{
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		r = move(relay, i);
		/* Only now: it takes the error away that reading tells. What still came of who is
		 * gone counts; what goes to them does not. */
		if (r == 0 && relay->hung[i] && !relay->way[!i].told && takes_no_more(relay, i))
			discard(&relay->way[!i]);
	}
	if (r < 0 && relay->failed == SOCKET) {
		break_off(relay);
		return;
	}
	for (int i = 0; i < 2 && r == 0; i++)
		r = update(relay, i);
	if (r < 0) {
		relay_reset(relay);
		relay->done(relay);
	} else if (relay->way[CHANNEL].told && relay->way[SOCKET].told) {
		finish(relay);
	}
}

static void on_event(struct relay *relay, int i, uint32_t events)
{
	relay->hung[i] |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	if (relay->fd[SOCKET] >= 0)
		go_on(relay);
	else if (takes_no_more(relay, CHANNEL))
		finish(relay);
}

static void on_channel(struct loop_io *io, uint32_t events)
{
	on_event(container_of(io, struct relay, io[CHANNEL]), CHANNEL, events);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	on_event(container_of(io, struct relay, io[SOCKET]), SOCKET, events);
}

int relay_start(struct relay *relay, struct loop *loop, int channel, int socket)
{
	const int yes = 1;
	int r;

	relay->fd[CHANNEL] = channel;
	relay->fd[SOCKET] = socket;
	relay->wait.fn = on_waited;
	relay->io[CHANNEL].fn = on_channel;
	relay->io[SOCKET].fn = on_socket;
	/* What somebody typed is not to wait for more; harmless on what is not TCP. */
	(void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	r = loop_io_add(loop, &relay->io[CHANNEL], channel, EPOLLIN | EPOLLRDHUP);
	if (r == 0)
		r = loop_io_add(loop, &relay->io[SOCKET], socket, EPOLLIN | EPOLLRDHUP);
	if (r < 0)
		relay_stop(relay);
	return r;
}
