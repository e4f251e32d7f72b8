/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/session/ride.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define PIECE      (32u << 10) /* of one frame to the caller */
#define FRAME_HEAD 64          /* of a frame, besides its bytes */

struct ride {
	struct list_node node;
	struct session *session;
	uint64_t request; /* id of channels.open while it is open, else 0 */
	uint64_t number;  /* of the channel */
	int fd;           /* owned; the caller's end of the channel */
	struct loop_io io;
	bool welcomed;      /* the byte before the channel's own has come */
	struct buffer held; /* from the caller, not taken yet */
	uint32_t room;      /* bytes that the caller may still send */
	uint32_t owed;      /* bytes that were taken, and the caller has no credit for yet */
	uint64_t credit;    /* bytes that may still be sent to the caller */
	bool caller_ended;  /* the caller sends no more, or for nobody */
	bool said_end;      /* the caller has said so */
	bool shut;          /* ... which the channel knows */
	bool ended;         /* the channel has ended, and the caller knows */
};

static void ride_free(struct ride *ride)
{
	loop_io_del(&ride->io);
	(void)fd_close(ride->fd);
	buffer_clear(&ride->held);
	list_remove(&ride->node);
	ride->session->rides_n--;
	free(ride);
}

/* What is told is a frame with the channel's number and these fields. */
static void say(struct ride *ride, Postern__V1__ChannelData *data)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;

	data->has_channel = true;
	data->channel = ride->number;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_CHANNEL;
	from.channel = data;
	(void)conn_send_message(ride->session, &from);
}

/* Over, in both directions. */
static void finish(struct ride *ride)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;

	data.has_closed = data.closed = true;
	say(ride, &data);
	ride_free(ride);
}

/* So that the caller is told seldom, and never waits for it. */
static void give_credit(struct ride *ride)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;

	if (ride->caller_ended || ride->owed < RIDE_WINDOW / 4)
		return;
	data.has_credit = true;
	data.credit = ride->owed;
	ride->room += ride->owed;
	ride->owed = 0;
	say(ride, &data);
}

/* Nobody takes the caller's bytes any more: what still comes of the channel goes to him. */
static void discard(struct ride *ride)
{
	buffer_clear(&ride->held);
	ride->caller_ended = ride->shut = true;
}

/* The caller's bytes to the channel. */
static void move_in(struct ride *ride)
{
	size_t sent = 0;

	if (buffer_send(&ride->held, ride->fd, &sent) < 0) {
		discard(ride);
		return;
	}
	ride->owed += (uint32_t)sent;
	give_credit(ride);
	if (ride->caller_ended && !ride->shut && buffer_len(&ride->held) == 0) {
		ride->shut = true;
		(void)shutdown(ride->fd, SHUT_WR);
	}
}

static size_t piece_of(const struct ride *ride)
{
	size_t most = ride->session->max_frame - FRAME_HEAD;

	most = most < PIECE ? most : PIECE;
	return ride->credit < most ? (size_t)ride->credit : most;
}

/* One piece of the channel to the caller. 1, 0 when there is none now, or -errno. */
static int move_piece(struct ride *ride)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
	static uint8_t bytes[PIECE];
	ssize_t n = recv(ride->fd, bytes, ride->welcomed ? piece_of(ride) : 1, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!ride->welcomed) {
		ride->welcomed = true;
		return n == 1 ? 1 : -ECONNRESET;
	}
	ride->ended = n == 0;
	data.has_end = data.end = ride->ended;
	data.has_data = !ride->ended;
	data.data = (ProtobufCBinaryData){.data = bytes, .len = (size_t)n};
	ride->credit -= (uint64_t)n;
	say(ride, &data);
	return n > 0;
}

/* Whether anything may be read: the end, too, is told only to who has credit, if only of a byte. */
static bool wants_out(const struct ride *ride)
{
	return !ride->welcomed || (!ride->ended && ride->credit > 0 && !conn_paused(ride->session));
}

static int move_out(struct ride *ride)
{
	int r = 1;

	while (r > 0 && wants_out(ride))
		r = move_piece(ride);
	if (!ride->ended && ride->credit > 0 && conn_paused(ride->session))
		ride->session->waits_for_room = true;
	return r;
}

/* Nobody is at the other end any more, be it without a word: only sending tells. */
static bool is_gone(const struct ride *ride)
{
	return send(ride->fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EPIPE;
}

static void update(struct ride *ride)
{
	uint32_t events = 0;
	int r;

	move_in(ride);
	r = move_out(ride);
	if (r < 0 || (ride->ended && (ride->shut || is_gone(ride)))) {
		finish(ride);
		return;
	}
	if (wants_out(ride))
		events |= EPOLLIN;
	if (buffer_len(&ride->held) > 0)
		events |= EPOLLOUT;
	/* A channel that has ended altogether would wake us over and over. */
	if (events == 0)
		events = EPOLLET;
	(void)loop_io_set(&ride->io, events);
}

static void on_channel(struct loop_io *io, uint32_t events)
{
	struct ride *ride = container_of(io, struct ride, io);
	struct session *session = ride->session;

	(void)events;
	update(ride);
	conn_update(session);
}

static struct ride *find(struct session *session, uint64_t number)
{
	LIST_EACH(&session->rides, node)
	{
		struct ride *ride = container_of(node, struct ride, node);

		if (ride->request == 0 && ride->number == number)
			return ride;
	}
	return NULL;
}

/* The requests of those that were cancelled are gone. */
static void drop_cancelled(struct session *session)
{
	LIST_EACH(&session->rides, node)
	{
		struct ride *ride = container_of(node, struct ride, node);

		if (ride->request != 0 && !request_find(session, ride->request))
			ride_free(ride);
	}
}

static int ride_new(struct call *call, uint32_t credit, int *ret_other)
{
	struct session *session = call->program;
	struct ride *ride;
	int pair[2];

	drop_cancelled(session);
	if (session->rides_n >= RIDES_MAX)
		return -EUSERS;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	ride = calloc(1, sizeof(*ride));
	if (!ride) {
		(void)close(pair[0]);
		(void)close(pair[1]);
		return -ENOMEM;
	}
	ride->session = session;
	ride->request = call->id;
	ride->fd = pair[0];
	ride->credit = credit;
	ride->room = RIDE_WINDOW;
	ride->io.fn = on_channel;
	list_append(&session->rides, &ride->node);
	session->rides_n++;
	*ret_other = pair[1];
	return 0;
}

int ride_open(struct call *call, const uint8_t token[TOKEN_SIZE], uint32_t credit,
	const struct told **ret_told)
{
	struct session *session = call->program;
	AUTO_CLOSE int other = -EBADF;
	int r;

	if (!session->told) {
		r = ride_new(call, credit, &other);
		if (r < 0)
			return r;
	}
	return session_present(call, token, other, ret_told);
}

struct ride *ride_opened(struct session *session, uint64_t request, const struct told *told)
{
	LIST_EACH(&session->rides, node)
	{
		struct ride *ride = container_of(node, struct ride, node);

		if (ride->request != request)
			continue;
		ride->request = 0;
		if (told->error != 0 || told->len != sizeof(ride->number) ||
			loop_io_add(&session->loop, &ride->io, ride->fd, EPOLLIN) < 0) {
			ride_free(ride);
			return NULL;
		}
		memcpy(&ride->number, told->body, sizeof(ride->number));
		return ride;
	}
	return NULL;
}

uint64_t ride_number(const struct ride *ride)
{
	return ride->number;
}

static void break_off(struct session *session, const char *why)
{
	conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_BAD_FRAME, why);
}

void ride_take(struct session *session, const Postern__V1__ChannelData *data)
{
	struct ride *ride = find(session, data->channel);

	/* It may have ended while this was on its way. */
	if (!ride)
		return;
	if (data->closed) {
		ride_free(ride);
		return;
	}
	if (data->data.len > ride->room || (ride->said_end && data->data.len > 0)) {
		break_off(session, ride->said_end ? "bytes of a channel behind its end"
						  : "more bytes of a channel than its credit");
		return;
	}
	if (!ride->shut && buffer_append(&ride->held, data->data.data, data->data.len) < 0) {
		finish(ride);
		return;
	}
	ride->room -= (uint32_t)data->data.len;
	ride->credit += data->credit;
	ride->said_end |= data->end;
	ride->caller_ended |= data->end;
	update(ride);
}

void ride_resume(struct session *session)
{
	LIST_EACH(&session->rides, node)
	{
		struct ride *ride = container_of(node, struct ride, node);

		if (ride->request == 0)
			update(ride);
	}
}

void ride_stop(struct session *session)
{
	LIST_EACH(&session->rides, node)
	ride_free(container_of(node, struct ride, node));
}
