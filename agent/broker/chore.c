/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/chore.h"

#include "agent/broker/child.h"
#include "agent/broker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define RESTORE_MS   10000 /* between two attempts at persistent shares */
#define RESTORES_MAX 30

static void on_save_exit(struct child *child)
{
	child->broker->saving = false;
	child_free(child);
}

static void on_restore_timer(struct loop_timer *timer)
{
	chore_restore_shares(container_of(timer, struct broker, restore));
}

/* Some share could not be mounted: its server or its device may only come up yet. */
static void restore_again(struct broker *broker)
{
	if (broker->restores++ == RESTORES_MAX || broker->stopping)
		return;
	broker->restore.fn = on_restore_timer;
	loop_timer_set(
		&broker->loop, &broker->restore, monotonic_ns() + RESTORE_MS * NSEC_PER_MSEC);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	(void)body;
	if (message->kind == INNER_DONE && message->arg > 0)
		restore_again(child->broker);
	else if (message->kind != INNER_DONE && !worker_serve(child, message, fds, n_fds))
		child_kill(child);
}

static struct child *start(struct broker *broker, enum inner_kind kind, int fd)
{
	struct inner_message message = {
		.kind = (uint16_t)kind, .body_len = sizeof(broker->worker_facts)};
	struct child *child;

	if (child_start(broker, ROLE_WORKER, &child) < 0)
		return NULL;
	child->spare = false;
	child->on_message = on_message;
	(void)child_send(child, &message, &broker->worker_facts, &fd, 1);
	return child;
}

void chore_save_history(struct broker *broker)
{
	struct child *child;
	int fd = broker->sources.session[SESSION_FD_HISTORY];

	if (broker->saving || fd < 0)
		return;
	child = start(broker, INNER_SAVE, fd);
	if (!child)
		return;
	child->on_exit = on_save_exit;
	broker->saving = true;
}

void chore_restore_shares(struct broker *broker)
{
	(void)start(broker, INNER_RESTORE, broker->sources.quarantine_ro);
}
