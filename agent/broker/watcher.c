/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/watcher.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/broker/child.h"
#include "agent/broker/chore.h"
#include "agent/broker/ready.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define RESTART_MS 1000

static void on_restart(struct loop_timer *timer)
{
	watcher_start(container_of(timer, struct broker, watcher_restart));
}

static void restart_later(struct broker *broker)
{
	broker->watcher = NULL;
	if (broker->stopping)
		return;
	broker->watcher_restart.fn = on_restart;
	loop_timer_set(&broker->loop, &broker->watcher_restart,
		monotonic_ns() + RESTART_MS * NSEC_PER_MSEC);
}

static void on_exit_(struct child *child)
{
	struct broker *broker = child->broker;

	child_free(child);
	if (!broker->stopping)
		log_warning("the watcher ended; it is started again, and events begin a new epoch");
	restart_later(broker);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct broker *broker = child->broker;

	(void)body;
	(void)fds;
	(void)n_fds;
	switch (message->kind) {
	case INNER_WATCHING:
		broker->facts.epoch = message->arg;
		broker->watching = true;
		ready_all(broker);
		break;
	case INNER_SAVE_DUE:
		chore_save_history(broker);
		break;
	default:
		log_warning("the watcher sent a message of kind %u", message->kind);
		child_kill(child);
	}
}

void watcher_start(struct broker *broker)
{
	struct watch_facts facts = {.sample_interval_s = broker->config.sample_interval_s,
		.save_interval_s = broker->config.save_interval_s};
	struct inner_message message = {.kind = INNER_WATCH, .body_len = sizeof(facts)};
	int fds[WATCH_FD_COUNT], r;
	size_t n = 0;

	memcpy(facts.run_dir, broker->config.run_dir, sizeof(facts.run_dir));
	memcpy(facts.boot_id, broker->facts.boot_id, sizeof(facts.boot_id));
	r = child_start(broker, ROLE_WATCH, &broker->watcher);
	if (r < 0) {
		restart_later(broker);
		return;
	}
	broker->watcher->spare = false;
	broker->watcher->on_exit = on_exit_;
	broker->watcher->on_message = on_message;
	for (int i = 0; i < WATCH_FD_COUNT; i++)
		if (broker->sources.watch[i] >= 0) {
			fds[n++] = broker->sources.watch[i];
			message.arg |= UINT64_C(1) << i;
		}
	(void)child_send(broker->watcher, &message, &facts, fds, n);
}

int watcher_subscribe(struct broker *broker, const struct subscriber_facts *facts, int *ret_fd)
{
	struct inner_message message = {.kind = INNER_SUBSCRIBER, .body_len = sizeof(*facts)};
	AUTO_CLOSE int ours = -EBADF;
	AUTO_CLOSE int theirs = -EBADF;
	int pair[2], r;

	if (!broker->watcher)
		return -ENOTCONN;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = child_send(broker->watcher, &message, facts, &theirs, 1);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&ours);
	return 0;
}

void watcher_emit(struct broker *broker, uint64_t topic, int fd)
{
	struct inner_message message = {.kind = INNER_EMIT, .arg = topic};

	if (broker->watcher && topic < TOPIC_COUNT)
		(void)child_send(broker->watcher, &message, NULL, &fd, 1);
}
