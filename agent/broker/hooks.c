/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/hooks.h"

#include <errno.h>

#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/spare.h"
#include "agent/broker/zygote.h"
#include "agent/hook_event.h"
#include "proto/cleanup.h"
#include "proto/log.h"

static void on_exit_(struct child *child)
{
	struct broker *broker = child->broker;

	child_drop(child);
	spare_trim(broker);
}

void hooks_start(struct child *worker, const struct inner_message *message, int socket)
{
	struct broker *broker = worker->broker;
	struct inner_message run = {.kind = INNER_HOOKS,
		.arg = message->arg,
		.deadline = message->deadline,
		.body_len = sizeof(broker->worker_facts)};
	AUTO_CLOSE int theirs = socket;
	struct child *child = NULL;
	int r;

	if (worker->method >= METHOD_COUNT || message->arg >= HOOK_EVENTS ||
		!(method_rows[worker->method].flags & HOOKS)) {
		log_warning("worker (pid %d) asked for hooks that it has not", worker->pid);
		return;
	}
	r = zygote_fork(broker, ROLE_JOB, &child);
	if (r < 0) {
		log_warning("no hook can be run: %d", -r);
		return;
	}
	child->on_exit = on_exit_;
	child->on_message = child_unasked;
	(void)child_send(child, &run, &broker->worker_facts, &theirs, 1);
}
