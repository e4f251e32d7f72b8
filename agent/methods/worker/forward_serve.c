/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/methods/forward_serving.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define COUNT_MS 250

void serving_tell(
	struct serving *serving, enum inner_kind kind, uint64_t id, uint64_t from, uint64_t to)
{
	struct inner_message message = {.kind = (uint16_t)kind, .id = id, .arg = from, .aux = to};

	(void)inner_send(serving->channel->broker, &message, NULL, NULL, 0);
}

static void on_count(struct loop_timer *timer)
{
	struct serving *serving = container_of(timer, struct serving, count);

	LIST_EACH(&serving->connections, node)
	{
		struct connection *connection = container_of(node, struct connection, node);
		uint64_t up, down;

		connection_bytes(connection, &up, &down);
		if (up != connection->told_up || down != connection->told_down)
			connection_tell(connection, INNER_COUNT);
	}
	if (serving->connections_n > 0)
		serving_count(serving);
}

void serving_count(struct serving *serving)
{
	loop_timer_set(&serving->loop, &serving->count, monotonic_ns() + COUNT_MS * NSEC_PER_MSEC);
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

/* The caller wants one, or says that one has broken. 0, or -errno for a caller that has to go. */
static int take_record(struct forward_control *control, const Postern__V1__ForwardRecord *record)
{
	struct serving *serving = container_of(control, struct serving, control);
	const Postern__V1__ForwardConnect *wish = record->connect;

	if (record->kind_case == POSTERN__V1__FORWARD_RECORD__KIND_BROKEN) {
		cut(serving, record->broken->channel);
		return 0;
	}
	if (record->kind_case != POSTERN__V1__FORWARD_RECORD__KIND_CONNECT || !wish->has_id ||
		!wish->has_target || wish->target >= serving->forward->n_connect)
		return -EBADMSG;
	return connection_begin(serving, wish->id, &serving->forward->connect[wish->target].end);
}

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
			connection_fail(connection, -EUSERS);
		else
			connection_offer(connection);
		return;
	}
	/* It has failed meanwhile. */
	if (grant->number != 0)
		serving_tell(serving, INNER_CLOSED, grant->number, 0, 0);
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
		 connection_join(connection, &fds[0]) < 0)
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
		r = listen_start(&serving);
	if (r == 0)
		r = forward_control_start(&serving.control, &serving.loop, socket);
	if (r == 0)
		r = loop_run(&serving.loop);
	if (r < 0)
		log_warning("a forward ends: %s", strerror(-r));
	for (size_t i = 0; i < serving.forward->n_listen; i++)
		forward_unlisten(&serving.forward->listen[i].end);
}
