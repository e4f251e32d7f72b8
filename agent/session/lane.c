/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/session/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/lane.h"
#include "agent/session/memo.h"
#include "agent/session/remote.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/verify.h"

#define SLOW_MS  100         /* then the broker hears of a request, and keeps its time */
#define KEEP_MAX (64u << 10) /* bytes of memory for answers that an idle lane keeps */

struct lane {
	struct list_node node;
	struct session *session;
	uint64_t number;    /* of the same count as requests' */
	enum method rights; /* of the first request */
	int fd;             /* owned */
	struct loop_io io;
	struct loop_timer timer;
	struct request *request; /* NULL: it is idle */
	struct buffer part;      /* of the answer, as far as it came */
	bool slow;               /* the broker keeps the request's time */
	bool begun;              /* some of the answer is on its way to the peer */
	bool empty;              /* nothing more comes: its process is gone, or leaving */
	bool ended;              /* it takes no more requests; if the broker says so, why: */
	uint32_t why;
	uint64_t ended_for; /* the request's serial, 0: none */
};

/* Of no use any more; still in the list. */
static void lane_close(struct lane *lane)
{
	lane->ended = true;
	lane->session->lanes_n--;
	loop_io_del(&lane->io);
	loop_timer_del(&lane->timer);
	lane->fd = fd_close(lane->fd);
	buffer_clear(&lane->part);
}

static void lane_forget(struct lane *lane)
{
	list_remove(&lane->node);
	free(lane);
}

static void lane_free(struct lane *lane)
{
	lane_close(lane);
	lane_forget(lane);
}

/* aux: the request whose time the broker should keep, 0: none any more. */
static void tell_slow(struct lane *lane, enum method method, uint64_t aux, uint64_t deadline)
{
	struct inner_message message = {.kind = INNER_SLOW,
		.id = lane->number,
		.method = (uint16_t)method,
		.aux = aux,
		.deadline = deadline};

	lane->slow = aux != 0;
	(void)inner_send(lane->session->broker, &message, NULL, NULL, 0);
}

static uint64_t deadline_of(const struct request *request)
{
	return ((const struct lane_request *)buffer_front(&request->part))->deadline;
}

static void on_slow(struct loop_timer *timer)
{
	struct lane *lane = container_of(timer, struct lane, timer);
	const struct request *request = lane->request;

	tell_slow(lane, request->method, request->serial, deadline_of(request));
}

/* The request is on its own again. */
static struct request *release(struct lane *lane)
{
	struct request *request = take_ptr(lane->request);

	request->lane = NULL;
	loop_timer_del(&lane->timer);
	if (lane->slow)
		tell_slow(lane, request->method, 0, 0);
	return request;
}

static void on_lane(struct loop_io *io, uint32_t events);

/* 0 or -errno: the process has left. */
static int put_request(struct lane *lane, struct request *request)
{
	uint64_t slow = lane->session->reader.arrived_ns + SLOW_MS * NSEC_PER_MSEC;
	uint64_t deadline = deadline_of(request);
	size_t len = buffer_len(&request->part);

	/* What is asked is less than an empty socket takes. Where it takes less, what it has of it
	 * is nobody's request: the loop tells of the end. */
	if (send(lane->fd, buffer_front(&request->part), len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
		(ssize_t)len) {
		(void)shutdown(lane->fd, SHUT_RDWR);
		lane->ended = true;
		return -EPIPE;
	}
	lane->request = request;
	lane->begun = false;
	request->lane = lane;
	lane->timer.fn = on_slow;
	loop_timer_set(&lane->session->loop, &lane->timer, slow < deadline ? slow : deadline);
	return 0;
}

static struct lane *lane_new(struct session *session, enum method method, int *ret_far)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	int pair[2];

	if (!lane)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(lane);
		return NULL;
	}
	*lane = (struct lane){.session = session,
		.number = ++session->last_serial,
		.rights = method,
		.fd = pair[0],
		.io.fn = on_lane};
	*ret_far = pair[1];
	list_append(&session->lanes, &lane->node);
	session->lanes_n++;
	if (fcntl(lane->fd, F_SETFL, O_NONBLOCK) == 0 &&
		loop_io_add(&session->loop, &lane->io, lane->fd, EPOLLIN) == 0)
		return lane;
	lane_free(lane);
	return NULL;
}

/* The far end has its request before the broker has found it a process. */
static int ask_new(struct request *request)
{
	struct session *session = request->session;
	AUTO_CLOSE int far = -EBADF;
	struct lane *lane = lane_new(session, request->method, &far);
	struct inner_message message = {.kind = INNER_LANE, .method = (uint16_t)request->method};
	int r;

	if (!lane)
		return -ENOMEM;
	message.id = lane->number;
	r = put_request(lane, request);
	if (r == 0)
		r = inner_send(session->broker, &message, NULL, &far, 1);
	if (r < 0) {
		request->lane = NULL;
		lane_free(lane);
	}
	return r;
}

/* Makes room for another one, by one that is idle. */
static void free_idle(struct session *session)
{
	LIST_EACH(&session->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (lane->request || lane->ended)
			continue;
		lane_free(lane);
		return;
	}
}

static int ask(struct request *request)
{
	struct session *session = request->session;

	LIST_EACH(&session->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (!lane->request && !lane->ended &&
			row_same_lane(lane->rights, request->method) &&
			put_request(lane, request) == 0)
			return 0;
	}
	if (session->lanes_n >= LANES_EACH_MAX)
		free_idle(session);
	return session->lanes_n >= LANES_EACH_MAX ? -EUSERS : ask_new(request);
}

static void ask_or_fail(struct request *request)
{
	int r = ask(request);

	if (r < 0)
		request_ended(request, r == -EUSERS ? ENDED_BUSY : ENDED_NO_WORKER);
}

void lane_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline)
{
	struct lane_request head = {.method = method,
		.params_len = (uint32_t)from->params.len,
		.id = from->id,
		.deadline = deadline,
		.max_frame = session->max_frame};
	bool may_hold = method_rows[method].flags & BY_UEVENTS && from->params.len == 0;
	/* Before anybody looks: what changes meanwhile counts for the next time. */
	uint64_t uevents = may_hold ? memo_count(session) : 0;
	struct request *request;
	const char *why = "longer than 40 KiB";

	if (uevents != 0 && memo_answer(session, from->id, method, uevents))
		return;

	/* The process checks again; here the error costs it nothing. */
	if (from->params.len > LANE_PARAMS_MAX ||
		verify_message(handlers[method].request, from->params.data, from->params.len,
			&verify_agent_limits, &why) < 0) {
		request_end(session, from->id, method, POSTERN__V1__CODE__INVALID_ARGUMENT,
			POSTERN__V1__OUTCOME__NOT_DONE, why);
		return;
	}
	request = request_open(session, from->id, method);
	if (!request || buffer_append(&request->part, &head, sizeof(head)) < 0 ||
		buffer_append(&request->part, from->params.data, from->params.len) < 0) {
		request_end(session, from->id, method, POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			POSTERN__V1__OUTCOME__NOT_DONE, "the agent is out of memory");
		return;
	}
	request->uevents = uevents;
	ask_or_fail(request);
}

/* Its process is gone without a whole answer, and it is known why. */
static void conclude(struct lane *lane)
{
	bool not_ours = lane->why == 0 || (lane->ended_for != 0 && lane->request &&
						  lane->ended_for != lane->request->serial);
	uint32_t why = lane->why ? lane->why : ENDED_CRASHED;
	bool begun = lane->begun;
	struct request *request = lane->request ? release(lane) : NULL;

	lane_close(lane);
	if (request && not_ours && !begun && !request->again) {
		/* It left, or was ended for an earlier request, before it took this one. */
		request->again = true;
		ask_or_fail(request);
	} else if (request) {
		request_ended(request, why);
	}
	lane_forget(lane);
}

/* The last part has come. */
static void finish(struct lane *lane, const struct passed *passed)
{
	struct request *request = release(lane);

	if (request->uevents != 0 && !lane->begun && passed->parts == 1 && passed->frame)
		memo_keep(lane->session, request->method, request->uevents, passed->frame,
			passed->head.len);
	/* More than that is nobody's answer: this lane serves no other request. */
	if (buffer_len(&lane->part) > 0)
		lane_free(lane);
	else if (lane->part.size > KEEP_MAX)
		buffer_clear(&lane->part);
	if (passed->head.refused)
		request_ended(request, passed->head.refused);
	else
		request_close(request);
}

/* Takes what comes, once. 1: there may be more; 0: there will not be; -1: not now, or the request
 * is answered, and the lane may be gone with it. */
static int take(struct lane *lane)
{
	struct session *session = lane->session;
	int r = remote_read(session, &lane->io, &lane->part);
	struct passed passed;

	if (r < 0)
		return -1;
	if (r == 0) {
		loop_io_del(&lane->io);
		lane->empty = true;
		return 0;
	}
	r = remote_pass_on(session, &lane->part, &passed);
	if (r == 1)
		finish(lane, &passed);
	else if (r == -EMSGSIZE)
		request_fail(session, lane->request->id, POSTERN__V1__CODE__INTERNAL,
			"an answer is over the limit");
	else
		lane->begun |= passed.parts > 0;
	return r == 0 ? 1 : -1;
}

static void on_lane(struct loop_io *io, uint32_t events)
{
	struct lane *lane = container_of(io, struct lane, io);
	struct session *session = lane->session;

	(void)events;
	/* An idle one's process has left. What nobody asked for must not stand in for the next
	 * request's answer. */
	if (!lane->request) {
		lane_free(lane);
		return;
	}
	if (take(lane) == 0 && lane->ended)
		conclude(lane);
	conn_update(session);
}

void lane_cancel(const struct lane *lane)
{
	struct inner_message message = {
		.kind = INNER_CANCEL, .id = lane->number, .aux = lane->request->serial};

	(void)inner_send(lane->session->broker, &message, NULL, NULL, 0);
}

void lane_request_gone(struct lane *lane)
{
	lane->request = NULL;
	lane_free(lane);
}

void lane_ended(struct session *session, uint64_t number, uint64_t serial, uint32_t why)
{
	struct lane *lane = NULL;

	LIST_EACH(&session->lanes, node)
	if (container_of(node, struct lane, node)->number == number)
		lane = container_of(node, struct lane, node);
	if (!lane)
		return;
	lane->ended = true;
	lane->ended_for = serial;
	lane->why = why;
	/* What its process had written by then comes first; one that hangs in the kernel still has
	 * its end. */
	if (!lane->request || lane->empty || why & ENDED_STUCK)
		conclude(lane);
}

void lane_resume(struct session *session)
{
	LIST_EACH(&session->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (lane->io.loop)
			(void)loop_io_set(&lane->io, EPOLLIN);
	}
}
