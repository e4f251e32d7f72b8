/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/saver.h"


#include "agent/broker/child.h"

static void on_exit_(struct child *child)
{
	child->broker->saving = false;
	child_free(child);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	(void)body;
	(void)fds;
	(void)n_fds;
	if (message->kind != INNER_DONE)
		child_kill(child);
}

void saver_start(struct broker *broker)
{
	struct inner_message message = {.kind = INNER_SAVE, .body_len = sizeof(broker->config.state_dir)};
	struct child *child;
	int fd = broker->sources.session[SESSION_FD_HISTORY];

	if (broker->saving || fd < 0)
		return;
	if (child_start(broker, ROLE_WORKER, &child) < 0)
		return;
	child->spare = false;
	child->on_exit = on_exit_;
	child->on_message = on_message;
	broker->saving = true;
	(void)child_send(child, &message, broker->config.state_dir, &fd, 1);
}
