/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/chore.h"

#include <errno.h>

#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/spare.h"
#include "agent/broker/stuck.h"
#include "agent/broker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define SAVE_MS    20000 /* for half a megabyte and fsync() */
#define RESTORE_MS 30000 /* for one share whose server may not answer */
#define THAW_MS    20000
#define AGAIN_MS   500u /* to the next round after a failure; doubled each time */
#define DOUBLINGS  7u   /* at most 64 s */

static void on_exit_(struct child *child)
{
	struct chore *chore = child->owner;
	struct broker *broker = child->broker;

	loop_timer_del(&chore->deadline);
	chore->child = NULL;
	child_free(child);
	chore->ended(broker, chore->result);
	/* What it was forked of may have been started for it alone. */
	spare_trim(broker);
}

static void on_deadline(struct loop_timer *timer)
{
	struct chore *chore = container_of(timer, struct chore, deadline);
	struct child *child = chore->child;
	struct broker *broker = child->broker;

	if (child->killed_ns == 0) {
		child_kill(child);
		chore->result = RESTORE_FAILED;
		loop_timer_set(&broker->loop, &chore->deadline,
			monotonic_ns() + KILL_GRACE_MS * NSEC_PER_MSEC);
		return;
	}
	chore->child = NULL;
	stuck_add(child);
	chore->ended(broker, chore->result);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct chore *chore = child->owner;

	if (message->kind == INNER_DONE)
		chore->result = message->arg;
	else if (!worker_serve(child, message, body, fds, n_fds))
		child_kill(child);
}

/* Starts a process for the message. 0 or -errno. */
static int start(struct broker *broker, struct chore *chore, struct inner_message *message, int fd,
	uint64_t ms)
{
	int r = spare_take(broker, ROLE_WORKER, &chore->child);

	if (r < 0)
		return r;
	message->body_len = sizeof(broker->worker_facts);
	message->deadline = monotonic_ns() + ms * NSEC_PER_MSEC;
	chore->result = RESTORE_LOST;
	chore->child->owner = chore;
	chore->child->on_message = on_message;
	chore->child->on_exit = on_exit_;
	chore->deadline.fn = on_deadline;
	loop_timer_set(&broker->loop, &chore->deadline, message->deadline);
	(void)child_send(chore->child, message, &broker->worker_facts, &fd, 1);
	return 0;
}

/* ---- the load history ---- */

static void on_saved(struct broker *broker, uint64_t result)
{
	(void)broker;
	(void)result;
}

void chore_save_history(struct broker *broker)
{
	struct inner_message message = {.kind = INNER_SAVE};
	int fd = broker->sources.session[SESSION_FD_HISTORY];

	/* The disk may be among what is frozen: then it waits for the next time. */
	if (broker->freeze.lease != 0 || broker->saver.child || stuck_runs(broker, METHOD_COUNT) ||
		stuck_many(broker) || fd < 0)
		return;
	broker->saver.ended = on_saved;
	(void)start(broker, &broker->saver, &message, fd, SAVE_MS);
}

/* ---- what is frozen ---- */

int chore_thaw(struct broker *broker, unsigned int why,
	void (*ended)(struct broker *broker, uint64_t result))
{
	struct inner_message message = {.kind = INNER_THAW, .arg = why};
	int r = stuck_runs(broker, METHOD_filesystems_thaw) ? -EBUSY : 0;

	broker->freeze.thawer.ended = ended;
	if (r == 0)
		r = start(broker, &broker->freeze.thawer, &message, broker->sources.quarantine_ro,
			THAW_MS);
	if (r == 0)
		broker->freeze.thawer.child->method = METHOD_filesystems_thaw;
	return r;
}

/* ---- persistent shares ---- */

static void restore_next(struct broker *broker);

static void on_restore_timer(struct loop_timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, restore_again);

	chore_restore_shares(broker);
}

/* Some share could not be mounted: its server or its device may only come up yet. */
static void restore_again(struct broker *broker)
{
	uint64_t ms = AGAIN_MS << (broker->restores < DOUBLINGS ? broker->restores : DOUBLINGS);

	broker->restores++;
	broker->restore_again.fn = on_restore_timer;
	loop_timer_set(&broker->loop, &broker->restore_again, monotonic_ns() + ms * NSEC_PER_MSEC);
}

static void on_restored(struct broker *broker, uint64_t result)
{
	if (broker->stopping)
		return;
	broker->restore_failed |= result == RESTORE_FAILED || result == RESTORE_LOST;
	if (result == RESTORE_DONE || result == RESTORE_FAILED) {
		broker->restore_number++;
		restore_next(broker);
	} else if (broker->restore_failed) {
		restore_again(broker);
	}
}

/* One process a share: a server that does not answer holds up the others for its time only. */
static void restore_next(struct broker *broker)
{
	struct inner_message message = {.kind = INNER_RESTORE, .arg = broker->restore_number};

	broker->restorer.ended = on_restored;
	if (stuck_many(broker) || start(broker, &broker->restorer, &message,
					  broker->sources.quarantine_ro, RESTORE_MS) < 0) {
		restore_again(broker);
		return;
	}
	broker->restorer.child->method = METHOD_shares_mount;
}

void chore_restore_shares(struct broker *broker)
{
	/* One that hangs would be joined by another in each round; and a frozen disk takes no
	 * records. */
	if (broker->freeze.lease != 0 || stuck_runs(broker, METHOD_shares_mount)) {
		restore_again(broker);
		return;
	}
	broker->restore_number = 0;
	broker->restore_failed = false;
	restore_next(broker);
}
