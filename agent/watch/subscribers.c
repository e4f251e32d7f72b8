/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "agent/watch/watch.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/encode.h"
#include "proto/log.h"

#define EARLY_NS (50 * NSEC_PER_MSEC) /* a timer's slack: no event is dropped for it */

static void subscriber_free(struct subscriber *subscriber)
{
	struct watch *watch = subscriber->watch;

	list_remove(&subscriber->node);
	loop_io_del(&subscriber->io);
	(void)fd_close(subscriber->fd);
	buffer_clear(&subscriber->answer);
	/* To what is bound to the connection, its place in memory is only a number. */
	properties_disconnect(watch, subscriber);
	heartbeat_disconnect(watch, subscriber);
	free(subscriber);
	sampler_schedule(watch);
	heartbeat_schedule(watch);
}

/* 0, -EAGAIN when the session does not read, or another -errno. */
static int send_packet(struct subscriber *subscriber, struct events_packet *packet,
	const void *payload, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov[] = {{packet, sizeof(*packet)}, {(void *)payload, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = len > 0 ? 2 : 1};

	packet->payload_len = (uint32_t)len;
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	return sendmsg(subscriber->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int send_gap(
	struct subscriber *subscriber, const struct subscription *subscription, uint64_t missed)
{
	Postern__V1__NotifyGap gap = POSTERN__V1__NOTIFY_GAP__INIT;
	uint8_t payload[32 + ENCODE_SLACK], *end = payload + sizeof(payload);
	size_t len;
	struct events_packet packet = {.kind = EVENTS_EVENT,
		.topic = TOPIC_gap,
		.subscription = subscription->wish.subscription,
		.epoch = subscriber->watch->ring.epoch,
		.seq = subscriber->watch->ring.oldest - 1,
		.time_ns = clock_ns(CLOCK_REALTIME)};

	gap.has_missed = true;
	gap.missed = missed;
	len = encode_before(payload, end, &gap.base);
	return send_packet(subscriber, &packet, end - len, len, -EBADF);
}

static bool threshold_holds(const struct events_command *wish, const struct load_sample *sample)
{
	static const uint32_t flags[] = {
		EVENTS_CPU_PRESSURE, EVENTS_MEMORY_PRESSURE, EVENTS_IO_PRESSURE};

	if (wish->flags & EVENTS_LOAD1 && sample->load[0] / 100.0 > wish->load1_above)
		return true;
	if (wish->flags & EVENTS_MEMORY && sample->memory_available < wish->memory_below)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (wish->flags & flags[i] && sample->pressure[i] / 100.0 > wish->pressure_above[i])
			return true;
	return false;
}

/* By interval, or by threshold: at once when one begins to hold, then at the interval. */
static bool wants_load(
	const struct watch *watch, struct subscription *subscription, const struct event *event)
{
	const struct events_command *wish = &subscription->wish;
	uint64_t interval = wish->interval_ms ? wish->interval_ms * NSEC_PER_MSEC
					      : watch->facts.sample_interval_s * NSEC_PER_SEC;
	bool due = subscription->load_sent_ns == 0 ||
		   event->at_ns + EARLY_NS >= subscription->load_sent_ns + interval;
	bool held = subscription->holds;

	if (wish->flags & (EVENTS_LOAD1 | EVENTS_MEMORY | EVENTS_CPU_PRESSURE |
				  EVENTS_MEMORY_PRESSURE | EVENTS_IO_PRESSURE)) {
		subscription->holds = threshold_holds(wish, &event->sample);
		if (!subscription->holds || (held && !due))
			return false;
	} else if (!due) {
		return false;
	}
	return true;
}

/* The agent's own heartbeat, for who has said how often. */
static bool wants_beat(const struct subscription *subscription, const struct event *event)
{
	uint64_t interval = subscription->wish.interval_ms * NSEC_PER_MSEC;

	return interval > 0 &&
	       (subscription->beat_sent_ns == 0 ||
		       event->at_ns + EARLY_NS >= subscription->beat_sent_ns + interval);
}

static bool may_see(const struct subscriber *subscriber, const struct event *event)
{
	const struct caller *caller = &subscriber->caller;

	return event->uid == EVERYBODY || !caller->guest || caller->uid == 0 ||
	       caller->uid == event->uid;
}

static int send_event(
	struct subscriber *subscriber, struct subscription *subscription, const struct event *event)
{
	struct events_packet packet = {.kind = EVENTS_EVENT,
		.topic = event->topic,
		.subscription = subscription->wish.subscription,
		.epoch = subscriber->watch->ring.epoch,
		.seq = event->seq,
		.time_ns = event->time_ns};
	bool held = subscription->holds;
	int r;

	if (!(subscription->wish.topics & event->concerns) || !may_see(subscriber, event))
		return 0;
	if (event->topic == TOPIC_heartbeat_agent && !wants_beat(subscription, event))
		return 0;
	if (event->topic == TOPIC_system_load &&
		!wants_load(subscriber->watch, subscription, event))
		return 0;
	r = send_packet(subscriber, &packet, event->payload, event->len, -EBADF);
	if (r < 0)
		subscription->holds = held; /* it is looked at again */
	else if (event->topic == TOPIC_system_load)
		subscription->load_sent_ns = event->at_ns;
	else if (event->topic == TOPIC_heartbeat_agent)
		subscription->beat_sent_ns = event->at_ns;
	return r;
}

/* Sends what one subscription has not seen. 0, or -errno of the socket. */
static int pump_one(struct subscriber *subscriber, struct subscription *subscription)
{
	const struct ring *ring = &subscriber->watch->ring;
	int r;

	if (subscription->next < ring->oldest) {
		r = send_gap(subscriber, subscription, ring->oldest - subscription->next);
		if (r < 0)
			return r;
		subscription->next = ring->oldest;
	}
	for (; subscription->next < ring->next; subscription->next++) {
		r = send_event(subscriber, subscription, ring_get(ring, subscription->next));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Sends what the session has not got of an answer. 0, or -errno of the socket. */
static int send_answer(struct subscriber *subscriber)
{
	struct buffer *answer = &subscriber->answer;

	while (buffer_len(answer) > 0) {
		size_t left = buffer_len(answer);
		size_t len = left < EVENT_PAYLOAD_MAX ? left : EVENT_PAYLOAD_MAX;
		struct events_packet packet = {.kind = EVENTS_ANSWER,
			.subscription = subscriber->answer_serial,
			.arg = len == left};
		int r = send_packet(subscriber, &packet, buffer_front(answer), len, -EBADF);

		if (r < 0)
			return r;
		buffer_consume(answer, len);
	}
	buffer_clear(answer);
	return 0;
}

static void pump(struct subscriber *subscriber)
{
	int r = send_answer(subscriber);

	for (size_t i = 0; i < SUBSCRIPTIONS_MAX && r == 0; i++)
		if (subscriber->subscriptions[i].wish.subscription != 0)
			r = pump_one(subscriber, &subscriber->subscriptions[i]);
	if (r == 0 || r == -EAGAIN)
		(void)loop_io_set(
			&subscriber->io, (buffer_len(&subscriber->answer) == 0 ? EPOLLIN : 0) |
						 (r == 0 ? 0 : EPOLLOUT));
	/* Any other error is the end, which the loop tells as well. */
}

void subscribers_pump(struct watch *watch)
{
	LIST_EACH(&watch->subscribers, node)
	pump(container_of(node, struct subscriber, node));
}

/* The shortest interval of those who want the topic; otherwise: of those who have said none, 0:
 * they do not count. */
static uint64_t least_interval(const struct watch *watch, uint64_t topic, uint64_t otherwise)
{
	uint64_t least = 0;

	LIST_EACH(&watch->subscribers, node)
	{
		const struct subscriber *subscriber = container_of(node, struct subscriber, node);

		for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++) {
			const struct events_command *wish = &subscriber->subscriptions[i].wish;
			uint64_t interval =
				wish->interval_ms ? wish->interval_ms * NSEC_PER_MSEC : otherwise;

			if (wish->subscription != 0 && wish->topics & topic && interval > 0 &&
				(least == 0 || interval < least))
				least = interval;
		}
	}
	return least;
}

uint64_t subscribers_load_interval(const struct watch *watch)
{
	return least_interval(
		watch, TOPIC_BIT(system_load), watch->facts.sample_interval_s * NSEC_PER_SEC);
}

uint64_t subscribers_beat_interval(const struct watch *watch)
{
	return least_interval(watch, TOPIC_BIT(heartbeat_agent), 0);
}

/* Where the subscription starts. Returns whether a gap of unknown size comes first. */
static bool set_start(const struct ring *ring, struct subscription *subscription)
{
	const struct events_command *wish = &subscription->wish;

	subscription->next = ring->next;
	if (!(wish->flags & EVENTS_AFTER))
		return false;
	if (wish->epoch != ring->epoch || wish->seq >= ring->next)
		return true;
	subscription->next = wish->seq + 1;
	return false;
}

static void subscribe(struct subscriber *subscriber, const struct events_command *command)
{
	struct watch *watch = subscriber->watch;
	struct events_packet answer = {.kind = EVENTS_SUBSCRIBED,
		.subscription = command->subscription,
		.epoch = watch->ring.epoch,
		.seq = watch->ring.next - 1};
	struct subscription *free_slot = NULL;
	AUTO_CLOSE int snapshot = -EBADF;
	bool gap = false;
	int r = 0;

	for (size_t i = 0; i < SUBSCRIPTIONS_MAX && !free_slot; i++)
		if (subscriber->subscriptions[i].wish.subscription == 0)
			free_slot = &subscriber->subscriptions[i];
	if (!free_slot || command->subscription == 0)
		r = -ENOSPC;
	else if (command->topics & ~subscriber->allowed & ~(UINT64_C(1) << TOPIC_gap))
		r = -EACCES;
	else if (command->flags & EVENTS_SNAPSHOT)
		r = snapshot_take(subscriber, command->topics, &snapshot);
	if (r == 0) {
		*free_slot = (struct subscription){.wish = *command};
		gap = set_start(&watch->ring, free_slot);
	} else {
		answer.kind = EVENTS_REFUSED;
		answer.arg = (uint64_t)-r;
	}
	if (send_packet(subscriber, &answer, NULL, 0, snapshot) < 0 ||
		(gap && send_gap(subscriber, free_slot, 0) < 0)) {
		/* A session that does not read even this is broken. */
		(void)shutdown(subscriber->fd, SHUT_RDWR);
		return;
	}
	sampler_schedule(watch);
	heartbeat_schedule(watch);
	pump(subscriber);
}

static void unsubscribe(struct subscriber *subscriber, uint64_t number)
{
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++)
		if (number != 0 && subscriber->subscriptions[i].wish.subscription == number)
			subscriber->subscriptions[i] = (struct subscription){0};
	sampler_schedule(subscriber->watch);
	heartbeat_schedule(subscriber->watch);
}

static void call(struct subscriber *subscriber, const struct events_command *command,
	const uint8_t *params, size_t len)
{
	if (call_take(subscriber, command, params, len) < 0)
		(void)shutdown(subscriber->fd, SHUT_RDWR);
	else
		pump(subscriber);
}

static void on_subscriber(struct loop_io *io, uint32_t events)
{
	struct subscriber *subscriber = container_of(io, struct subscriber, io);
	static uint8_t params[EVENT_PARAMS_MAX];
	struct events_command command;
	struct iovec iov[] = {{&command, sizeof(command)}, {params, sizeof(params)}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (events & EPOLLOUT)
		pump(subscriber);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recvmsg(subscriber->fd, &msg, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < (ssize_t)sizeof(command) || msg.msg_flags & MSG_TRUNC) {
		subscriber_free(subscriber);
		return;
	}
	if (command.kind == EVENTS_SUBSCRIBE)
		subscribe(subscriber, &command);
	else if (command.kind == EVENTS_UNSUBSCRIBE)
		unsubscribe(subscriber, command.subscription);
	else if (command.kind == EVENTS_CALL)
		call(subscriber, &command, params, (size_t)n - sizeof(command));
}

void subscriber_add(struct watch *watch, int fd, const struct subscriber_facts *facts)
{
	struct subscriber *subscriber = calloc(1, sizeof(*subscriber));

	if (!subscriber) {
		(void)fd_close(fd);
		return;
	}
	*subscriber = (struct subscriber){.watch = watch,
		.fd = fd,
		.allowed = facts->topics,
		.caller = {
			.uid = facts->uid, .guest = facts->guest != 0, .connection = subscriber}};
	memcpy(subscriber->caller.name, facts->identity, sizeof(subscriber->caller.name) - 1);
	memcpy(subscriber->methods, facts->methods, sizeof(subscriber->methods));
	subscriber->io.fn = on_subscriber;
	list_append(&watch->subscribers, &subscriber->node);
	if (loop_io_add(&watch->loop, &subscriber->io, fd, EPOLLIN) < 0)
		subscriber_free(subscriber);
}
