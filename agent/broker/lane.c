/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/lane.h"

#include <stdlib.h>

#include "agent/broker/call.h"
#include "agent/broker/child.h"
#include "agent/broker/session.h"
#include "agent/broker/spare.h"
#include "agent/broker/stuck.h"
#include "agent/broker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define LEAVE_MS 2000 /* for a process that should be about to leave */

static void on_room(struct loop_timer *timer);

static void tell_ended(struct session *session, uint64_t number, uint64_t request, uint32_t why)
{
	struct inner_message message = {
		.kind = INNER_LANE_ENDED, .id = number, .aux = request, .arg = why};

	if (session)
		(void)child_send(session->child, &message, NULL, NULL, 0);
}

/* Its process is another's matter by now. Those that wait are looked at from the loop, since one of
 * them may end in turn. */
static void lane_end(struct lane *lane, uint32_t why)
{
	struct broker *broker = lane->broker;

	tell_ended(lane->session, lane->number, lane->slow, why);
	loop_timer_del(&lane->timer);
	list_remove(&lane->node);
	if (lane->session)
		lane->session->lanes_n--;
	(void)fd_close(lane->fd);
	free(lane);
	broker->lanes_room.fn = on_room;
	loop_timer_set(&broker->loop, &broker->lanes_room, 0);
}

static void set_timer(struct lane *lane, uint64_t at)
{
	loop_timer_set(&lane->broker->loop, &lane->timer, at);
}

static void kill_for(struct lane *lane, uint32_t why)
{
	if (lane->why == 0)
		lane->why = why;
	child_kill(lane->child);
	set_timer(lane, monotonic_ns() + KILL_GRACE_MS * NSEC_PER_MSEC);
}

static void on_exit_(struct child *child)
{
	struct lane *lane = child->owner;

	child_free(child);
	lane_end(lane, lane->why ? lane->why : lane->left ? 0 : ENDED_CRASHED);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct lane *lane = child->owner;

	switch (message->kind) {
	case INNER_DONE:
		lane->left = true;
		if (child->role != ROLE_READER)
			break; /* its exit ends the lane */
		lane->child = NULL;
		spare_return_reader(child);
		lane_end(lane, lane->why);
		break;
	case INNER_HUNG:
		stuck_add_child_of(child, (pid_t)message->aux, message->arg);
		break;
	default:
		if (worker_serve(child, message, body, fds, n_fds))
			break;
		log_warning("%s (pid %d) sent a message of kind %u", role_name(child->role),
			child->pid, message->kind);
		kill_for(lane, ENDED_CRASHED);
	}
}

static struct lane *find(const struct session *session, uint64_t number)
{
	LIST_EACH(&session->broker->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (lane->session == session && lane->number == number)
			return lane;
	}
	return NULL;
}

/* False: it has ended. */
static bool hear_session(struct lane *lane)
{
	struct session *session = lane->session;
	uint64_t number = lane->number;

	child_hear(session->child);
	return find(session, number) == lane;
}

/* Killed, or about to be. */
static void on_timer(struct loop_timer *timer)
{
	struct lane *lane = container_of(timer, struct lane, timer);

	if (!lane->child) {
		lane_end(lane, lane->why ? lane->why : ENDED_BUSY);
		return;
	}
	if (lane->child->killed_ns == 0) {
		/* That the answer has come may be on its way. */
		if (lane->session && !hear_session(lane))
			return;
		if (!lane->session || lane->slow != 0 || lane->yields)
			kill_for(lane, ENDED_DEADLINE);
		return;
	}
	if (lane->child->pidfd < 0) {
		/* It never told who it is; its connection's end is its own. */
		if (lane->child->role == ROLE_WORKER)
			spare_renew_worker(lane->broker);
		child_free(lane->child);
		lane_end(lane, lane->why);
		return;
	}
	/* It hangs in the kernel. */
	stuck_add(lane->child);
	lane_end(lane, lane->why | ENDED_STUCK);
}

/* Finds it a process, or has it ended from the loop: others are looked at meanwhile. */
static void run(struct lane *lane)
{
	struct broker *broker = lane->broker;
	enum role role = method_rows[lane->rights].where == READER ? ROLE_READER : ROLE_WORKER;
	struct inner_message message = {.kind = INNER_SERVE,
		.method = (uint16_t)lane->rights,
		.body_len = sizeof(broker->worker_facts)};
	int fds[] = {lane->fd, lane->session->verdicts_fd, broker->sources.quarantine_ro};

	if (spare_take(broker, role, &lane->child) < 0) {
		lane->why = ENDED_NO_WORKER;
		set_timer(lane, 0);
		return;
	}
	lane->child->owner = lane;
	lane->child->on_exit = on_exit_;
	lane->child->on_message = on_message;
	if (child_send(lane->child, &message, &broker->worker_facts, fds, ARRAY_SIZE(fds)) < 0)
		child_kill(lane->child);
	lane->fd = fd_close(lane->fd);
}

struct counts {
	size_t running, waiting;
	size_t leaving; /* of those that run */
};

static struct counts count(const struct broker *broker)
{
	struct counts n = {0};

	LIST_EACH(&broker->lanes, node)
	{
		const struct lane *lane = container_of(node, struct lane, node);

		n.running += lane->child != NULL;
		n.waiting += lane->child == NULL && lane->why == 0;
		n.leaving += lane->child && lane->yields;
	}
	return n;
}

/* Asks the process that has been longest with one caller to make room; one whose request takes its
 * time only when there is no other. False: all have been asked. */
static bool ask_for_room(struct broker *broker)
{
	struct inner_message message = {.kind = INNER_YIELD};
	struct lane *chosen = NULL;

	LIST_EACH(&broker->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (lane->child && !lane->yields &&
			(!chosen || (chosen->slow != 0 && lane->slow == 0)))
			chosen = lane;
	}
	if (!chosen)
		return false;
	chosen->yields = true;
	/* A request of which nobody has said that it takes its time takes none. */
	if (chosen->slow == 0)
		set_timer(chosen, monotonic_ns() + LEAVE_MS * NSEC_PER_MSEC);
	(void)child_send(chosen->child, &message, NULL, NULL, 0);
	return true;
}

/* As many run as may, and as many are asked to leave as still wait. */
static void place(struct broker *broker)
{
	struct counts n;

	LIST_EACH(&broker->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (!lane->child && lane->why == 0 && count(broker).running < LANES_MAX)
			run(lane);
	}
	for (n = count(broker); n.leaving < n.waiting && ask_for_room(broker); n.leaving++)
		;
}

static void on_room(struct loop_timer *timer)
{
	place(container_of(timer, struct broker, lanes_room));
}

static struct lane *lane_new(struct session *session, const struct inner_message *message, int *fd)
{
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	*lane = (struct lane){.broker = session->broker,
		.session = session,
		.number = message->id,
		.rights = (enum method)message->method,
		.fd = take_fd(fd),
		.timer.fn = on_timer};
	list_append(&session->broker->lanes, &lane->node);
	session->lanes_n++;
	return lane;
}

void lane_open(struct session *session, const struct inner_message *message, int fds[INNER_FDS_MAX],
	size_t n_fds)
{
	struct broker *broker = session->broker;
	struct lane *lane = NULL;
	uint32_t refused = 0;

	if (message->method >= METHOD_COUNT || !row_has_lane((enum method)message->method) ||
		n_fds != 1 || find(session, message->id)) {
		log_warning("session (pid %d) asked for what is no lane", session->child->pid);
		child_kill(session->child);
		return;
	}
	if (!session->verdicts.method[message->method].allowed)
		refused = ENDED_DENIED;
	else if (session->lanes_n >= LANES_EACH_MAX || count(broker).waiting >= LANES_WAITING_MAX)
		refused = ENDED_BUSY;
	else if (!(lane = lane_new(session, message, &fds[0])))
		refused = ENDED_NO_WORKER;
	if (!lane)
		tell_ended(session, message->id, 0, refused);
	else
		place(broker);
}

void lane_slow(struct session *session, const struct inner_message *message)
{
	struct lane *lane = find(session, message->id);
	enum method method = (enum method)message->method;

	if (!lane || lane->why != 0)
		return;
	lane->slow = message->aux;
	if (lane->slow == 0) {
		if (lane->child)
			lane->child->method = METHOD_COUNT;
		loop_timer_del(&lane->timer);
		if (lane->yields)
			set_timer(lane, monotonic_ns() + LEAVE_MS * NSEC_PER_MSEC);
		return;
	}
	if (method >= METHOD_COUNT || !row_same_lane(lane->rights, method)) {
		log_warning("session (pid %d) said that a lane does what it cannot",
			session->child->pid);
		child_kill(session->child);
		return;
	}
	if (lane->child)
		lane->child->method = method;
	set_timer(lane, call_clamp_deadline(method, message->deadline));
}

void lane_cancel(struct session *session, const struct inner_message *message)
{
	struct lane *lane = find(session, message->id);

	if (!lane || lane->why != 0)
		return;
	lane->slow = message->aux;
	if (lane->child)
		kill_for(lane, ENDED_CANCELLED);
	else
		lane_end(lane, ENDED_CANCELLED);
}

void lane_session_gone(struct session *session)
{
	LIST_EACH(&session->broker->lanes, node)
	{
		struct lane *lane = container_of(node, struct lane, node);

		if (lane->session != session)
			continue;
		lane->session = NULL;
		session->lanes_n--;
		if (!lane->child)
			lane_end(lane, 0);
		else if (lane->why == 0 && lane->slow != 0)
			kill_for(lane, ENDED_CANCELLED);
		else if (lane->why == 0)
			set_timer(lane, monotonic_ns() + LEAVE_MS * NSEC_PER_MSEC);
	}
}

size_t lane_count_slow(const struct broker *broker)
{
	size_t n = 0;

	LIST_EACH(&broker->lanes, node)
	n += container_of(node, struct lane, node)->slow != 0;
	return n;
}
