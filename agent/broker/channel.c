/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/broker/child.h"
#include "agent/broker/stuck.h"
#include "agent/broker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

static void channel_free(struct channel *channel)
{
	loop_timer_del(&channel->timer);
	list_remove(&channel->node);
	channel->broker->channels_n--;
	explicit_bzero(&channel->grant, sizeof(channel->grant));
	free(channel);
}

static size_t count_of(const struct broker *broker, const struct identity *identity)
{
	size_t n = 0;

	LIST_EACH(&broker->channels, node)
	n += identity_equal(&container_of(node, struct channel, node)->identity, identity);
	return n;
}

/* Nobody came in time: the process need not wait any longer. */
static void on_unused(struct loop_timer *timer)
{
	struct channel *channel = container_of(timer, struct channel, timer);
	struct inner_message message = {.kind = INNER_CHANNEL, .id = channel->grant.number};
	struct child *child = channel->child;

	channel_free(channel);
	(void)child_send(child, &message, NULL, NULL, 0);
}

static int channel_new(
	struct child *child, const struct identity *identity, struct channel **ret_channel)
{
	struct broker *broker = child->broker;
	struct channel *channel;

	if (broker->channels_n >= CHANNELS_MAX || count_of(broker, identity) >= CHANNELS_EACH_MAX)
		return -EUSERS;
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return -ENOMEM;
	*channel = (struct channel){.broker = broker,
		.identity = *identity,
		.child = child,
		.granted_ns = monotonic_ns(),
		.timer.fn = on_unused};
	/* Up to 256 bytes come whole, and at once after boot (getrandom(2)). */
	if (getrandom(channel->grant.token, TOKEN_SIZE, 0) != TOKEN_SIZE) {
		free(channel);
		return -EIO;
	}
	channel->grant.number = ++broker->last_channel;
	list_append(&broker->channels, &channel->node);
	broker->channels_n++;
	*ret_channel = channel;
	return 0;
}

int channel_grant(struct child *child, const struct identity *identity, enum method method,
	uint64_t job, uint64_t call, unsigned int place, struct grant *ret_grant)
{
	struct channel *channel;
	int r = channel_new(child, identity, &channel);

	if (r < 0)
		return r;
	channel->method = method;
	channel->job = job;
	channel->call = call;
	channel->place = place;
	*ret_grant = channel->grant;
	return 0;
}

static struct channel *find(const struct broker *broker, uint64_t number)
{
	LIST_EACH(&broker->channels, node)
	{
		struct channel *channel = container_of(node, struct channel, node);

		if (channel->grant.number == number)
			return channel;
	}
	return NULL;
}

static void arm(struct channel *channel)
{
	loop_timer_set(&channel->broker->loop, &channel->timer,
		monotonic_ns() + CHANNEL_TOKEN_MS * NSEC_PER_MSEC);
}

void channel_keep(struct child *child, uint64_t call, uint64_t used)
{
	struct broker *broker = child->broker;

	LIST_EACH(&broker->channels, node)
	{
		struct channel *channel = container_of(node, struct channel, node);

		if (channel->child != child || channel->call != call || channel->kept)
			continue;
		channel->kept = used >> channel->place & 1;
		if (!channel->kept)
			channel_free(channel);
		else if (!channel->open)
			arm(channel);
	}
}

/* The open channel that gives a child the right to more of them. */
static struct channel *find_first(const struct child *child)
{
	LIST_EACH(&child->broker->channels, node)
	{
		struct channel *channel = container_of(node, struct channel, node);

		if (channel->child == child && channel->call != 0 && channel->open &&
			method_rows[channel->method].flags & GRANTS_MORE)
			return channel;
	}
	return NULL;
}

void channel_more(struct child *child, uint64_t id)
{
	struct inner_message message = {
		.kind = INNER_GRANT, .id = id, .body_len = sizeof(struct grant)};
	const struct channel *first = find_first(child);
	struct channel *channel;
	struct grant grant = {0};

	if (first && channel_new(child, &first->identity, &channel) == 0) {
		channel->method = first->method;
		channel->kept = true;
		arm(channel);
		grant = channel->grant;
	}
	(void)child_send(child, &message, &grant, NULL, 0);
	explicit_bzero(&grant, sizeof(grant));
}

static void set_open(struct channel *channel)
{
	explicit_bzero(channel->grant.token, TOKEN_SIZE);
	channel->open = true;
}

void channel_opened(struct child *child, uint64_t call)
{
	LIST_EACH(&child->broker->channels, node)
	{
		struct channel *channel = container_of(node, struct channel, node);

		if (channel->child == child && channel->call == call)
			set_open(channel);
	}
}

/* Takes the same time whatever they hold. */
static bool tokens_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t different = 0;

	for (size_t i = 0; i < TOKEN_SIZE; i++)
		different |= (uint8_t)(a[i] ^ b[i]);
	return different == 0;
}

uint64_t channel_present(
	struct broker *broker, int fd, const struct identity *identity, const uint8_t *token)
{
	struct inner_message message = {.kind = INNER_CHANNEL};
	struct channel *found = NULL;
	AUTO_CLOSE int socket = fd;

	/* All are looked at, so that the time says nothing of where one stands. */
	LIST_EACH(&broker->channels, node)
	{
		struct channel *channel = container_of(node, struct channel, node);

		if (tokens_equal(channel->grant.token, token) && !channel->open)
			found = channel;
	}
	if (!found || !identity_equal(&found->identity, identity)) {
		char name[64];

		identity_print(identity, name, sizeof(name));
		log_info("%s presented a token that %s", name,
			found ? "was granted to somebody else" : "nobody granted, or late");
		return 0;
	}
	loop_timer_del(&found->timer);
	set_open(found);
	message.id = found->grant.number;
	(void)child_send(found->child, &message, NULL, &socket, 1);
	return message.id;
}

void channel_count(struct child *child, const struct inner_message *message)
{
	struct channel *channel = find(child->broker, message->id);

	if (!channel || channel->child != child)
		return;
	channel->from_caller = message->arg;
	channel->to_caller = message->aux;
	if (message->kind == INNER_CLOSED)
		channel_free(channel);
}

void channel_drop_all(const struct child *child)
{
	LIST_EACH(&child->broker->channels, node)
	{
		struct channel *channel = container_of(node, struct channel, node);

		if (channel->child == child)
			channel_free(channel);
	}
}

/* Killed, and not gone. */
static void on_hung(struct loop_timer *timer)
{
	struct child *child = container_of(timer, struct channel, timer)->child;

	channel_drop_all(child);
	stuck_add(child);
}

static void kill_worker(struct channel *channel)
{
	if (channel->child->killed_ns != 0)
		return;
	child_kill(channel->child);
	/* Its call looks after it until it says that it is done. */
	if (channel->child->owner)
		return;
	channel->timer.fn = on_hung;
	loop_timer_set(&channel->broker->loop, &channel->timer,
		monotonic_ns() + KILL_GRACE_MS * NSEC_PER_MSEC);
}

int channel_kill(struct broker *broker, const struct identity *identity, uint64_t number)
{
	struct inner_message message = {.kind = INNER_CUT, .id = number};
	struct channel *channel = find(broker, number);

	if (!channel || !identity_equal(&channel->identity, identity))
		return -ENOENT;
	if (channel->open && channel->child->role == ROLE_WORKER && channel->call != 0)
		kill_worker(channel); /* all that it does is for this one, which it may wait
					       for */
	else if (channel->open)
		(void)child_send(channel->child, &message, NULL, NULL, 0);
	else
		on_unused(&channel->timer);
	return 0;
}

size_t channel_list(const struct broker *broker, const struct identity *identity,
	struct channel_facts facts[CHANNELS_MAX])
{
	uint64_t now = monotonic_ns();
	size_t n = 0;

	LIST_EACH(&broker->channels, node)
	{
		const struct channel *channel = container_of(node, struct channel, node);

		if (!channel->kept || !identity_equal(&channel->identity, identity))
			continue;
		facts[n++] = (struct channel_facts){.number = channel->grant.number,
			.job = channel->job,
			.age_ms = (now - channel->granted_ns) / NSEC_PER_MSEC,
			.from_caller = channel->from_caller,
			.to_caller = channel->to_caller,
			.method = (uint16_t)channel->method,
			.open = channel->open};
	}
	return n;
}

static void on_exit_(struct child *child)
{
	channel_drop_all(child);
	child_free(child);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	if (!worker_serve(child, message, body, fds, n_fds))
		child_kill(child);
}

void channel_release(struct child *child)
{
	child->owner = NULL;
	child->on_exit = on_exit_;
	child->on_message = on_message;
}

size_t channel_open_of(const struct child *child)
{
	size_t n = 0;

	LIST_EACH(&child->broker->channels, node)
	{
		const struct channel *channel = container_of(node, struct channel, node);

		n += channel->child == child && channel->open;
	}
	return n;
}
