/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The session: the only program that meets a peer's bytes. It serves one connection, in an empty
 * root, as an unprivileged user; what it cannot do itself it asks the broker for, which decides by
 * method without trusting it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/events.h"
#include "agent/inner.h"
#include "agent/methods/call.h"
#include "proto/arena.h"
#include "proto/buffer.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/list.h"
#include "proto/loop.h"
#include "envelope.pb-c.h"

/* A request that has no last answer yet. */
struct request {
	struct list_node node;
	struct session *session;
	uint64_t id;     /* the peer's, which it may use again after the answer */
	uint64_t serial; /* what the broker knows it by, never used twice */
	enum method method;
	int pipe; /* owned; where a worker's answer arrives, -EBADF: it is not in a worker */
	struct loop_io io;
	struct lane *lane; /* where it is answered by one that serves several; NULL: it is not */
	struct loop_timer
		timer; /* deferred: of its deadline, which a worker's is the broker's to keep */
	struct buffer part; /* of the answer: head and frame as far as they came; of a row of
			     * WATCHER first what the watcher is asked */
	bool unasked;       /* the watcher has not been asked yet */
	uint64_t uevents;   /* of a row of BY_UEVENTS: the count before it was asked; else 0 */
	bool again;         /* a lane ended before its process took it, and it was asked anew */
};

struct subscription {
	uint64_t number; /* 0: free slot */
	uint64_t topics; /* mask */
	uint64_t
		request; /* id of the subscribe call that still waits for its answer; 0: answered */
	struct events_command command;
	bool sent;    /* the watcher was asked */
	int snapshot; /* owned; current state still to be sent, -EBADF: none */
	off_t snapshot_at;
};

/* What the broker answered. */
struct told {
	int error;        /* errno, 0: what follows is the answer */
	const void *body; /* borrowed */
	size_t len;
};

#define MEMOS_MAX 2 /* as many as rows say BY_UEVENTS */

/* An answer that is given again (memo.h). */
struct memo {
	uint64_t count; /* 0: free place */
	enum method method;
	struct buffer result;
};

enum phase { BEFORE_HELLO, SERVING, CLOSING };

struct session {
	struct loop loop;
	int broker; /* descriptor 3 */
	struct loop_io broker_io;
	struct session_facts facts;
	struct verdicts verdicts;
	int fds[SESSION_FD_COUNT]; /* owned; -EBADF: not allowed or not there */

	enum phase phase;
	int socket; /* owned; the peer */
	struct loop_io io;
	struct loop_timer timer; /* of the hello, of a frame, of closing */
	struct loop_timer stall;
	struct loop_timer resume; /* frames are in the reader that a pause held back */
	bool held_back;
	bool resuming; /* what is taken now came a while ago */
	struct frame_reader reader;
	struct buffer out;
	bool waits_for_room; /* a pipe, events or a snapshot stand still until the peer has read */
	uint64_t written;    /* bytes ever taken by the peer */
	uint64_t written_then; /* ... when the stall timer was set */
	bool eof;              /* the peer sends no more */
	bool shut;             /* nor do we */
	bool stopping;         /* the agent is; open requests are answered, then goodbye */
	size_t max_frame;      /* the peer takes */
	struct arena arena;    /* of the request at hand */

	struct list requests;
	size_t requests_n;
	uint64_t last_serial;
	struct list lanes; /* struct lane */
	size_t lanes_n;
	struct memo memos[MEMOS_MAX];

	int events; /* owned; pair with the watcher, -EBADF: not asked for yet */
	struct loop_io events_io;
	bool events_wanted;
	uint64_t next_subscription;
	struct subscription subscriptions[SUBSCRIPTIONS_MAX];

	struct list rides; /* channels in the frames */
	size_t rides_n;

	const struct told *told; /* during the second dispatch of a row of BROKER */
};

/* ---- conn.c: the peer's stream ---- */

/* Starts to serve the socket in session->socket. 0 or -errno. */
int conn_start(struct session *session);

/* Appends a whole frame. 0, or -ENOMEM: the connection ends. */
int conn_send(struct session *session, const struct buffer *frame);

/* Packs and appends. */
int conn_send_message(struct session *session, const Postern__V1__FromAgent *message);

/* Looks again at what may be read, written and ended, after anything has changed. */
void conn_update(struct session *session);

/* The peer does not read: nothing more should be produced for it. */
bool conn_paused(const struct session *session);

/* Says goodbye and leaves once it is on its way. */
void conn_goodbye(struct session *session, Postern__V1__GoodbyeReason reason, const char *message);

/* Says goodbye once the open requests are answered, or have had their time. */
void conn_stop(struct session *session);

/* ---- hello.c ---- */

/* Checks the first frame and answers it. */
void hello_take(struct session *session, const Postern__V1__ToAgent *frame);

/* INNER_ANNOUNCE: says Ready on the socket; the program ends after it. */
int hello_announce(const struct session_facts *facts, int socket);

/* ---- request.c: requests and their way to a worker ---- */

void request_take(struct session *session, const Postern__V1__Request *request);
void request_cancel(struct session *session, uint64_t id);
struct request *request_find(struct session *session, uint64_t id);
struct request *request_of_serial(struct session *session, uint64_t serial);

/* Remembers an open request. NULL: -ENOMEM. */
struct request *request_open(struct session *session, uint64_t id, enum method method);

/* It has its last answer: forgets it. */
void request_close(struct request *request);

/* Answers an open or a new request and forgets it. */
void request_reply(struct session *session, uint64_t id, const ProtobufCMessage *result);
void request_fail(
	struct session *session, uint64_t id, Postern__V1__Code code, const char *message);

/* The same for a request of a known method: one that changes something gets the outcome, too. */
void request_end(struct session *session, uint64_t id, enum method method, Postern__V1__Code code,
	Postern__V1__Outcome outcome, const char *message);

/* Answers it by why the broker, or its process, has no answer (enum ended_why). */
void request_ended(struct request *request, uint32_t why);

/* Runs a method of the session. */
void request_run(struct session *session, uint64_t id, enum method method, uint64_t deadline,
	const uint8_t *params, size_t len);

/* What is known of a change that another process was asked for, should nobody wait any more. */
Postern__V1__Outcome request_outcome(const struct request *request);

/* Has its deadline kept here: what the answer waits for is another process of the agent. */
void request_wait(struct request *request, uint64_t deadline);

/* ---- ask.c: what only the broker knows or can do ---- */

/*
 * For a handler of a row of BROKER. The first time it asks, about a channel, job or lease of this
 * number (0: none), with a value where the row has one, and returns CALL_DEFERRED or -errno, which
 * the handler returns. When the answer is there the handler runs again, without its parameters, and
 * this returns 0 with *ret_told.
 */
int session_ask(struct call *call, uint64_t number, uint64_t value, const struct told **ret_told);

/* The same of channels.open: fd, borrowed, is the socket of a caller who presents the token. */
int session_present(
	struct call *call, const uint8_t token[TOKEN_SIZE], int fd, const struct told **ret_told);

/* The caller waits no more for what was asked. */
void ask_withdraw(const struct request *request);

/* INNER_TOLD: runs the handler again. */
void ask_told(struct session *session, uint64_t serial, const struct told *told);

/* ---- watcher.c: what the watcher keeps ---- */

/* Checks the parameters of a row of WATCHER, and passes them on. */
void watcher_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline);

/* Asks what has not been asked yet, as far as the watcher takes it. Whether that is all. */
bool watcher_ask(struct session *session);

/* EVENTS_ANSWER */
void watcher_answer(
	struct session *session, const struct events_packet *packet, const uint8_t *payload);

/* Fails all that waits for the watcher. */
void watcher_lost(struct session *session, int error);

/* ---- events.c: subscriptions ---- */

/* Has the pair with the watcher made, if it was not asked for yet. */
void events_connect(struct session *session);

/* Looks again at what is waited for on that pair. */
void events_update(struct session *session);

/* Sends what the watcher must know once the pair is there (fd owned), or fails those who wait. */
void events_connected(struct session *session, int fd, int error);

/* A checked subscribe call; its request stays open until the watcher answers. 0, CALL_DEFERRED or
 * -errno through call_fail(). */
int events_subscribe(
	struct session *session, struct call *call, const struct events_command *command);

/* 0 or -ENOENT. */
int events_unsubscribe(struct session *session, uint64_t number);

/* Drops the subscription whose subscribe call is cancelled. */
void events_cancel(struct session *session, uint64_t request);

/* Ends all subscriptions (the peer sends no more). */
void events_stop(struct session *session);

/* Goes on after the peer has read. */
void events_resume(struct session *session);
