/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/worker.h"

#include "agent/broker/channel.h"
#include "agent/broker/freeze.h"
#include "agent/broker/generation.h"
#include "agent/broker/hooks.h"
#include "agent/broker/job.h"
#include "agent/broker/kmod.h"
#include "agent/broker/watcher.h"
#include "proto/cleanup.h"

bool worker_serve(struct child *worker, const struct inner_message *message, const void *body,
	int *fds, size_t n_fds)
{
	switch (message->kind) {
	case INNER_TOUCH:
		(void)fd_close(worker->touch);
		worker->touch = n_fds == 1 ? take_fd(&fds[0]) : -EBADF;
		return true;
	case INNER_CHANGING:
		worker->changing = true;
		return true;
	case INNER_THAWED:
		freeze_over(worker->broker);
		return true;
	case INNER_GENERATION:
		if (worker->method == METHOD_system_restored)
			generation_set(worker->broker, message->arg);
		return true;
	case INNER_WANT_GUARD:
		if (n_fds == 1)
			freeze_guard(worker, take_fd(&fds[0]));
		return true;
	case INNER_WANT_HOOKS:
		if (n_fds == 1)
			hooks_start(worker, message, take_fd(&fds[0]));
		return true;
	case INNER_WANT_KMOD:
		kmod_connect(worker);
		return true;
	case INNER_NOTIFY:
		if (n_fds == 1)
			watcher_emit(worker->broker, message->arg, fds[0]);
		return true;
	case INNER_GRANTED:
		channel_keep(worker, message->aux, message->arg);
		return true;
	case INNER_WANT_GRANT:
		channel_more(worker, message->id);
		return true;
	case INNER_COUNT:
	case INNER_CLOSED:
		channel_count(worker, message);
		return true;
	case INNER_JOB:
		job_told(worker, body, message->body_len);
		return true;
	default:
		return false;
	}
}
