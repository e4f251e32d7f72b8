/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-watch: sees what changes in the guest. Started by posternd only. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/sandbox/confine.h"
#include "agent/watch/watch.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define RUNS_SESSION 0
#define RUNS_READER  0
#define RUNS_WORKER  0
#define RUNS_BROKER  0
#define RUNS_WATCHER 1
#define RUNS_NEW_JOB 0
#define RUNS_JOB     0
#include "agent/methods/handlers.h"

static struct watch watch;

static int start(
	const struct inner_message *message, const void *body, int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct inner_message watching = {.kind = INNER_WATCHING};
	size_t n = 0;
	int r;

	if (message->body_len != sizeof(watch.facts) || watch.ring.next != 0)
		return -EBADMSG;
	memcpy(&watch.facts, body, sizeof(watch.facts));
	for (int i = 0; i < WATCH_FD_COUNT; i++)
		if (message->arg >> i & 1 && n < n_fds)
			watch.fds[i] = take_fd(&fds[n++]);
	watch.started_ns = monotonic_ns();
	r = ring_init(&watch.ring);
	if (r == 0)
		properties_start(&watch);
	if (r == 0)
		r = mounts_start(&watch);
	if (r == 0)
		r = sampler_start(&watch);
	if (r < 0)
		return r;
	/* A guest without uevents loses that topic only. */
	(void)uevents_start(&watch);
	watching.arg = watch.ring.epoch;
	return inner_send(INNER_FD, &watching, NULL, NULL, 0);
}

/* A worker's packed notification. */
static void emit(uint64_t topic, int fd)
{
	uint8_t payload[EVENT_PAYLOAD_MAX];
	ssize_t n = pread(fd, payload, sizeof(payload), 0);

	if (n >= 0 && topic < TOPIC_COUNT)
		ring_add(&watch, (enum topic)topic, payload, (size_t)n, NULL);
}

/* What nobody may be told of is not watched. What was begun goes on, so that whoever comes back
 * with a cursor has missed nothing. */
static void add_subscriber(const struct subscriber_facts *facts, int fd)
{
	if (facts->topics & TOPIC_BIT(network_changed))
		network_start(&watch);
	if (facts->topics & TOPIC_BIT(memory_pressure))
		pressure_start(&watch);
	subscriber_add(&watch, fd, facts);
}

static int take_message(
	const struct inner_message *message, void *body, int fds[INNER_FDS_MAX], size_t n_fds)
{
	if (message->kind == INNER_WATCH)
		return start(message, body, fds, n_fds);
	if (message->kind == INNER_SUBSCRIBER && n_fds == 1 &&
		message->body_len == sizeof(struct subscriber_facts))
		add_subscriber(body, take_fd(&fds[0]));
	else if (message->kind == INNER_EMIT && n_fds == 1)
		emit(message->arg, fds[0]);
	return 0;
}

static void on_broker(struct loop_io *io, uint32_t events)
{
	union {
		struct watch_facts watch;
		struct subscriber_facts subscriber;
	} body;
	int r = inner_take(io->fd, &body, sizeof(body), take_message);

	(void)events;
	if (r < 0)
		log_error("cannot go on: %s", strerror(-r));
	if (r <= 0)
		loop_stop(&watch.loop, r == 0 ? 0 : 1);
}

int main(int argc, char **argv)
{
	struct confinement confinement;
	int r;

	log_open("postern-watch", LOG_LEVEL_INFO);
	if (confine_from_args(argc, argv, &confinement) < 0)
		return 1;
	for (int i = 0; i < WATCH_FD_COUNT; i++)
		watch.fds[i] = -EBADF;
	list_init(&watch.subscribers);
	r = loop_init(&watch.loop);
	if (r < 0)
		return 1;
	watch.broker_io.fn = on_broker;
	r = loop_io_add(&watch.loop, &watch.broker_io, INNER_FD, EPOLLIN);
	if (r == 0)
		r = loop_run(&watch.loop);
	return r < 0 ? 1 : r;
}
