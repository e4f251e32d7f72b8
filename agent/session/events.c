/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/events.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/session/session.h"
#include "notifications.pb-c.h"
#include "proto/cleanup.h"
#include "proto/encode.h"

static struct subscription *find(struct session *session, uint64_t number)
{
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++)
		if (session->subscriptions[i].number == number)
			return &session->subscriptions[i];
	return NULL;
}

static void forget(struct subscription *subscription)
{
	(void)fd_close(subscription->snapshot);
	*subscription = (struct subscription){.snapshot = -EBADF};
}

static int append(struct session *session, const struct events_packet *packet, uint32_t topic,
	ProtobufCBinaryData payload, bool snapshot)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Notification notification = POSTERN__V1__NOTIFICATION__INIT;

	notification.has_subscription = true;
	notification.subscription = packet->subscription;
	notification.topic = (char *)topic_rows[topic].name;
	notification.has_epoch = notification.has_seq = notification.has_time_ns = true;
	notification.epoch = packet->epoch;
	notification.seq = packet->seq;
	notification.time_ns = packet->time_ns;
	notification.has_payload = true;
	notification.payload = payload;
	notification.has_snapshot = snapshot;
	notification.snapshot = snapshot;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_NOTIFICATION;
	from.notification = &notification;
	return frame_append(&session->out, &from.base, session->max_frame);
}

/* What does not fit into the frames that the peer takes is lost, which is not kept from it. */
static void notify(struct session *session, const struct events_packet *packet, uint8_t *payload,
	bool snapshot)
{
	Postern__V1__NotifyGap gap = POSTERN__V1__NOTIFY_GAP__INIT;
	int r;

	if (packet->topic >= TOPIC_COUNT)
		return;
	r = append(session, packet, packet->topic,
		(ProtobufCBinaryData){.len = packet->payload_len, .data = payload}, snapshot);
	if (r == -EMSGSIZE) {
		gap.has_missed = true;
		gap.missed = 1;
		r = append(session, packet, TOPIC_gap, encode_as_bytes(&gap.base), false);
	}
	if (r < 0)
		loop_stop(&session->loop, 1);
}

/* Sends current state from the snapshot as far as the peer takes it. */
static void send_snapshot(struct session *session, struct subscription *subscription)
{
	uint8_t payload[EVENT_PAYLOAD_MAX];
	struct events_packet packet;

	while (subscription->snapshot >= 0) {
		struct iovec iov[] = {{&packet, sizeof(packet)}, {payload, sizeof(payload)}};
		ssize_t n;

		if (conn_paused(session)) {
			session->waits_for_room = true;
			break;
		}
		n = preadv(subscription->snapshot, iov, 2, subscription->snapshot_at);
		if (n < (ssize_t)sizeof(packet) ||
			packet.payload_len > (size_t)n - sizeof(packet)) {
			subscription->snapshot = fd_close(subscription->snapshot);
			break;
		}
		subscription->snapshot_at += (off_t)(sizeof(packet) + packet.payload_len);
		packet.subscription = subscription->number;
		notify(session, &packet, payload, true);
	}
}

static bool snapshot_pending(const struct session *session)
{
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++)
		if (session->subscriptions[i].snapshot >= 0)
			return true;
	return false;
}

static void subscribed(struct session *session, struct subscription *subscription,
	const struct events_packet *packet, int *snapshot)
{
	Postern__V1__NotificationsSubscribeReply reply =
		POSTERN__V1__NOTIFICATIONS_SUBSCRIBE_REPLY__INIT;
	Postern__V1__Cursor cursor = POSTERN__V1__CURSOR__INIT;
	char *topics[TOPIC_COUNT];
	uint64_t request = subscription->request;

	if (request == 0)
		return;
	for (int i = 0; i < TOPIC_COUNT; i++)
		if (subscription->topics >> i & 1)
			topics[reply.n_topics++] = (char *)topic_rows[i].name;
	reply.topics = topics;
	reply.has_subscription = true;
	reply.subscription = subscription->number;
	cursor.has_epoch = cursor.has_seq = true;
	cursor.epoch = packet->epoch;
	cursor.seq = packet->seq;
	reply.cursor = &cursor;
	subscription->request = 0;
	subscription->snapshot = take_fd(snapshot);
	subscription->snapshot_at = 0;
	arena_reset(&session->arena);
	request_reply(session, request, &reply.base);
	send_snapshot(session, subscription);
}

static void refused(struct session *session, struct subscription *subscription, int error)
{
	uint64_t request = subscription->request;

	forget(subscription);
	if (request != 0)
		request_fail(session, request, POSTERN__V1__CODE__UNAVAILABLE, strerror(error));
}

/* The watcher is gone, or cannot be had: cursors of its epoch are worthless. */
static void lost(struct session *session, int error)
{
	loop_io_del(&session->events_io);
	session->events = fd_close(session->events);
	session->events_wanted = false;
	watcher_lost(session, error);
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++) {
		struct subscription *subscription = &session->subscriptions[i];

		if (subscription->number == 0)
			continue;
		if (subscription->request == 0) {
			conn_goodbye(session, POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_STOPPING,
				"events begin anew: connect and subscribe again");
			return;
		}
		refused(session, subscription, error);
	}
}

static ssize_t receive(int fd, struct events_packet *packet, uint8_t *payload, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov[] = {{packet, sizeof(*packet)}, {payload, EVENT_PAYLOAD_MAX}};
	struct msghdr msg = {.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (n < 0)
		return -errno;
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(*ret_fd));
	if (n > 0 &&
		((size_t)n < sizeof(*packet) || packet->payload_len != (size_t)n - sizeof(*packet)))
		return -EBADMSG;
	return n;
}

static void take_packet(struct session *session, const struct events_packet *packet,
	uint8_t *payload, int *snapshot)
{
	struct subscription *subscription;

	if (packet->kind == EVENTS_ANSWER) {
		watcher_answer(session, packet, payload);
		return;
	}
	subscription = packet->subscription ? find(session, packet->subscription) : NULL;
	if (!subscription)
		return;
	switch (packet->kind) {
	case EVENTS_SUBSCRIBED:
		subscribed(session, subscription, packet, snapshot);
		break;
	case EVENTS_REFUSED:
		refused(session, subscription, (int)packet->arg);
		break;
	case EVENTS_EVENT:
		notify(session, packet, payload, false);
		break;
	default:
		break;
	}
}

static void on_events(struct loop_io *io, uint32_t events)
{
	struct session *session = container_of(io, struct session, events_io);
	uint8_t payload[EVENT_PAYLOAD_MAX];
	struct events_packet packet;
	AUTO_CLOSE int snapshot = -EBADF;
	ssize_t n;

	if (events & EPOLLOUT)
		events_update(session);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	/* What the peer does not take stays with the watcher, whose ring is bounded. */
	if (conn_paused(session) || snapshot_pending(session)) {
		session->waits_for_room = true;
		(void)loop_io_set(io, 0);
		return;
	}
	n = receive(session->events, &packet, payload, &snapshot);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0)
		lost(session, ENOTCONN);
	else
		take_packet(session, &packet, payload, &snapshot);
	conn_update(session);
}

static void send_command(struct session *session, struct subscription *subscription)
{
	subscription->sent = true;
	if (send(session->events, &subscription->command, sizeof(subscription->command),
		    MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		refused(session, subscription, errno);
}

void events_connected(struct session *session, int fd, int error)
{
	if (error != 0 || session->events >= 0) {
		(void)fd_close(fd);
		if (error != 0)
			lost(session, error);
		return;
	}
	session->events = fd;
	session->events_io.fn = on_events;
	if (loop_io_add(&session->loop, &session->events_io, fd, EPOLLIN) < 0) {
		lost(session, ENOMEM);
		return;
	}
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++)
		if (session->subscriptions[i].number != 0 && !session->subscriptions[i].sent)
			send_command(session, &session->subscriptions[i]);
	events_update(session);
}

void events_update(struct session *session)
{
	bool all = watcher_ask(session);

	(void)loop_io_set(&session->events_io, all ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void events_connect(struct session *session)
{
	struct inner_message want = {.kind = INNER_WANT_EVENTS};

	if (session->events >= 0) {
		events_update(session);
	} else if (!session->events_wanted) {
		session->events_wanted = true;
		if (inner_send(session->broker, &want, NULL, NULL, 0) < 0)
			loop_stop(&session->loop, 1);
	}
}

int events_subscribe(
	struct session *session, struct call *call, const struct events_command *command)
{
	struct subscription *subscription = find(session, 0);

	if (!subscription)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, 0,
			"at most %d subscriptions on one connection", SUBSCRIPTIONS_MAX);
	if (!request_open(session, call->id, call->method))
		return -ENOMEM;
	*subscription = (struct subscription){.number = ++session->next_subscription,
		.topics = command->topics,
		.request = call->id,
		.command = *command,
		.snapshot = -EBADF};
	subscription->command.subscription = subscription->number;
	if (session->events >= 0)
		send_command(session, subscription);
	else
		events_connect(session);
	return CALL_DEFERRED;
}

/* Has the watcher forget it too, when it was told. */
static void drop(struct session *session, struct subscription *subscription)
{
	struct events_command command = {
		.kind = EVENTS_UNSUBSCRIBE, .subscription = subscription->number};

	if (session->events >= 0 && subscription->sent)
		(void)send(session->events, &command, sizeof(command), MSG_NOSIGNAL | MSG_DONTWAIT);
	forget(subscription);
}

int events_unsubscribe(struct session *session, uint64_t number)
{
	struct subscription *subscription = number ? find(session, number) : NULL;

	if (!subscription || subscription->request != 0)
		return -ENOENT;
	drop(session, subscription);
	return 0;
}

void events_cancel(struct session *session, uint64_t request)
{
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++)
		if (session->subscriptions[i].number != 0 &&
			session->subscriptions[i].request == request)
			drop(session, &session->subscriptions[i]);
}

void events_stop(struct session *session)
{
	/* The pair stays: calls that are open are still answered. */
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++) {
		struct subscription *subscription = &session->subscriptions[i];

		if (subscription->number == 0)
			continue;
		if (subscription->request != 0)
			refused(session, subscription, ENOTCONN);
		else
			drop(session, subscription);
	}
}

void events_resume(struct session *session)
{
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++)
		if (session->subscriptions[i].snapshot >= 0)
			send_snapshot(session, &session->subscriptions[i]);
	if (session->events >= 0 && !snapshot_pending(session))
		events_update(session);
}
