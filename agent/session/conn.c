/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/session/lane.h"
#include "agent/session/remote.h"
#include "agent/session/ride.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/verify.h"

#define CLOSING_MS 1000 /* for a goodbye to arrive */
#define LINGER_MS  100  /* ... once it is sent, where the agent stops */
#define ANSWERS_MS 1000 /* for open requests to be answered, where the agent stops */

bool conn_paused(const struct session *session)
{
	return buffer_len(&session->out) >= OUTPUT_PAUSE;
}

static void leave(struct session *session)
{
	loop_stop(&session->loop, 0);
}

/* Writes what the peer takes. False when the connection is gone. */
static bool flush(struct session *session)
{
	size_t n;
	int r = buffer_send(&session->out, session->socket, &n);

	session->written += n;
	return r == 0;
}

static void on_stall(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, stall);

	if (buffer_len(&session->out) == 0)
		return;
	if (session->written == session->written_then) {
		log_info("%s does not read its answers", session->facts.identity);
		leave(session);
		return;
	}
	session->written_then = session->written;
	loop_timer_set(&session->loop, timer, monotonic_ns() + OUTPUT_STALLED_MS * NSEC_PER_MSEC);
}

static void arm(struct session *session, void (*fn)(struct loop_timer *timer), uint64_t ms)
{
	session->timer.fn = fn;
	loop_timer_set(&session->loop, &session->timer, monotonic_ns() + ms * NSEC_PER_MSEC);
}

static void on_closing(struct loop_timer *timer)
{
	leave(container_of(timer, struct session, timer));
}

/* The goodbye is sent. Closing at once with bytes unread would cut off what is on its way. */
static void end_output(struct session *session)
{
	if (session->shut)
		return;
	session->shut = true;
	(void)shutdown(session->socket, SHUT_WR);
	if (session->stopping)
		arm(session, on_closing, LINGER_MS);
}

static void say_stopping(struct session *session)
{
	conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_STOPPING,
		"the agent is being stopped");
}

static void on_answers_late(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, timer);

	say_stopping(session);
	conn_update(session);
}

void conn_stop(struct session *session)
{
	session->stopping = true;
	if (session->shut)
		arm(session, on_closing, LINGER_MS);
	else if (session->phase != CLOSING && session->requests_n > 0)
		arm(session, on_answers_late, ANSWERS_MS);
	else
		say_stopping(session);
}

/* An agent that stops begins nothing new; what comes after the goodbye is thrown away. */
static bool takes_input(const struct session *session)
{
	return !session->stopping || session->phase == CLOSING;
}

/* What waited for the peer to read adds to the output again. True when there is more to write. */
static bool go_on(struct session *session)
{
	if (!session->waits_for_room || conn_paused(session))
		return false;
	session->waits_for_room = false;
	remote_resume(session);
	lane_resume(session);
	events_resume(session);
	ride_resume(session);
	return buffer_len(&session->out) > 0;
}

void conn_update(struct session *session)
{
	uint32_t events = 0;

	if (session->stopping && session->phase == SERVING && session->requests_n == 0)
		say_stopping(session);
	do {
		if (!flush(session)) {
			leave(session);
			return;
		}
	} while (go_on(session));
	if (buffer_len(&session->out) > 0) {
		events |= EPOLLOUT;
		if (!session->stall.loop) {
			session->written_then = session->written;
			loop_timer_set(&session->loop, &session->stall,
				monotonic_ns() + OUTPUT_STALLED_MS * NSEC_PER_MSEC);
		}
	} else {
		loop_timer_del(&session->stall);
		if (session->phase == SERVING && session->eof && session->requests_n == 0) {
			leave(session);
			return;
		}
		if (session->phase == CLOSING)
			end_output(session);
	}
	if (session->held_back && !conn_paused(session))
		loop_timer_set(&session->loop, &session->resume, 0);
	/* New bytes come after those that were held back. */
	if (!session->eof && !conn_paused(session) && !session->held_back && takes_input(session))
		events |= EPOLLIN;
	(void)loop_io_set(&session->io, events);
}

int conn_send(struct session *session, const struct buffer *frame)
{
	int r = buffer_append(&session->out, buffer_front(frame), buffer_len(frame));

	if (r < 0)
		leave(session);
	return r;
}

int conn_send_message(struct session *session, const Postern__V1__FromAgent *message)
{
	int r = frame_append(&session->out, &message->base, FRAME_CEILING);

	if (r < 0)
		leave(session);
	return r;
}

void conn_goodbye(struct session *session, Postern__V1__GoodbyeReason reason, const char *message)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Goodbye goodbye = POSTERN__V1__GOODBYE__INIT;

	if (session->phase == CLOSING)
		return;
	session->phase = CLOSING;
	goodbye.has_reason = true;
	goodbye.reason = reason;
	goodbye.message = (char *)message;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_GOODBYE;
	from.goodbye = &goodbye;
	(void)conn_send_message(session, &from);
	arm(session, on_closing, CLOSING_MS);
}

static void take_frame(struct session *session, const uint8_t *body, size_t len)
{
	Postern__V1__ToAgent *frame;
	const char *why;

	arena_reset(&session->arena);
	frame = (Postern__V1__ToAgent *)verify_unpack(&postern__v1__to_agent__descriptor, body, len,
		&verify_agent_limits, &session->arena, &why);
	if (!frame) {
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_BAD_FRAME, why);
		return;
	}
	if (session->phase == BEFORE_HELLO ||
		frame->kind_case == POSTERN__V1__TO_AGENT__KIND_HELLO) {
		hello_take(session, frame);
		return;
	}
	switch (frame->kind_case) {
	case POSTERN__V1__TO_AGENT__KIND_REQUEST:
		request_take(session, frame->request);
		break;
	case POSTERN__V1__TO_AGENT__KIND_CANCEL:
		request_cancel(session, frame->cancel->id);
		break;
	case POSTERN__V1__TO_AGENT__KIND_CHANNEL:
		ride_take(session, frame->channel);
		break;
	default:
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_BAD_FRAME,
			"a frame is neither hello, request, cancel nor a channel's");
	}
}

static void take_frames(struct session *session)
{
	const uint8_t *body;
	size_t len;
	int r = 0;

	session->resuming = session->held_back;
	session->held_back = false;
	while (session->phase != CLOSING && !session->stopping && !session->loop.stop) {
		if (conn_paused(session)) {
			session->held_back = true;
			break;
		}
		r = frame_next(&session->reader, &body, &len);
		if (r <= 0)
			break;
		take_frame(session, body, len);
	}
	if (r == -EMSGSIZE)
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_TOO_LARGE,
			session->phase == BEFORE_HELLO ? "a hello has at most 4096 bytes"
						       : "a frame is over the limit of the hello");
	else if (r < 0)
		conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_BAD_FRAME,
			"a frame's length is not a varint of 1 to 5 bytes");
}

static void on_slow(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, timer);

	conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_TOO_SLOW,
		session->phase == BEFORE_HELLO ? "no hello in time"
					       : "the rest of a frame is missing");
	conn_update(session);
}

/* One deadline for a whole frame, not for each of its bytes; and each frame has its own. */
static void set_frame_timer(struct session *session)
{
	uint64_t at = session->reader.started_ns + FRAME_DEADLINE_MS * NSEC_PER_MSEC;

	if (session->phase != SERVING || session->stopping)
		return;
	if (session->reader.started_ns == 0 || conn_paused(session))
		loop_timer_del(&session->timer);
	else if (!session->timer.loop || session->timer.at != at)
		loop_timer_set(&session->loop, &session->timer, at);
}

static void take_eof(struct session *session)
{
	session->eof = true;
	events_stop(session);
	ride_stop(session);
	if (session->phase == SERVING && session->reader.started_ns == 0)
		return;
	/* Mid-frame, before the hello, or after a goodbye: nobody waits for anything. */
	leave(session);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	struct session *session = container_of(io, struct session, io);
	ssize_t n = 0;

	if (events & (EPOLLHUP | EPOLLERR)) {
		leave(session);
		return;
	}
	if (events & EPOLLIN) {
		n = frame_read(&session->reader, session->socket);
		if (n == 0)
			take_eof(session);
		else if (n < 0 && n != -EAGAIN)
			leave(session);
		else if (session->phase == CLOSING)
			buffer_clear(&session->reader.in);
	}
	if (session->loop.stop)
		return;
	if (session->phase != CLOSING)
		take_frames(session);
	set_frame_timer(session);
	conn_update(session);
}

/* What arrived before a pause needs no new byte to be taken. */
static void on_resume(struct loop_timer *timer)
{
	struct session *session = container_of(timer, struct session, resume);

	take_frames(session);
	set_frame_timer(session);
	conn_update(session);
}

int conn_start(struct session *session)
{
	session->resume.fn = on_resume;
	session->phase = BEFORE_HELLO;
	session->reader.limit = FRAME_HELLO_MAX;
	session->max_frame = FRAME_DEFAULT_MAX;
	session->io.fn = on_socket;
	session->stall.fn = on_stall;
	arm(session, on_slow, HELLO_DEADLINE_MS);
	return loop_io_add(&session->loop, &session->io, session->socket, EPOLLIN);
}
