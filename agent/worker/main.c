/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-worker: answers requests that need libraries, namespaces or capabilities. Started by
 * posternd only. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/methods/judging.h"
#include "agent/methods/remote.h"
#include "agent/worker/lane.h"
#include "agent/worker/save.h"
#include "agent/worker/settle.h"
#include "agent/worker/worker.h"
#include "agent/zygote.h"
#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/log.h"

#define RUNS_SESSION 0
#define RUNS_READER  1
#define RUNS_WORKER  1
#define RUNS_BROKER  0
#define RUNS_WATCHER 0
#define RUNS_NEW_JOB 0
#define RUNS_JOB     0
#include "agent/methods/freeze.h"
#include "agent/methods/freeze_record.h"
#include "agent/methods/mount_call.h"
#include "agent/methods/needs.h"
#include "agent/methods/share.h"
#include "agent/methods/handlers.h"

#define SETTLED_FRAME_MAX (60u << 10)

static struct worker worker = {.broker = INNER_FD, .reply = -EBADF, .quarantine = -EBADF};

static int emit(struct call *call, bool last)
{
	struct inner_message granted = {.kind = INNER_GRANTED, .arg = 1, .aux = worker.call};

	/* Before the caller can use or look for it. */
	if (last && worker.channel.number != 0)
		(void)inner_send(worker.broker, &granted, NULL, NULL, 0);
	return remote_reply(worker.reply, call->out, last);
}

static int run(const struct inner_message *message, int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct call call = {.arena = &worker.arena,
		.id = message->id,
		.deadline = message->deadline,
		.max_frame = message->arg,
		.verdicts = &worker.verdicts,
		.program = &worker,
		.out = &worker.out,
		.emit = emit,
		.judge = judge_request,
		.prepare = worker_prepare};
	uint8_t *body = NULL;
	size_t len = 0;
	int kept = 0, r;

	if (message->method >= METHOD_COUNT || n_fds < 3 || n_fds > 4)
		return -EBADMSG;
	call.method = (enum method)message->method;
	if (worker.confinement.role == ROLE_WORKER) {
		kept = worker_keep(method_rows[call.method].caps,
			method_rows[call.method].profile == PROFILE_NETWORK);
	}
	/* Should it be killed, somebody else answers through this pipe: it holds no part of an
	 * answer then, since it takes one of this size at once (pipe(7)). */
	if (handlers[call.method].settle && call.max_frame > SETTLED_FRAME_MAX)
		call.max_frame = SETTLED_FRAME_MAX;
	worker.call = message->aux;
	worker.reply = take_fd(&fds[0]);
	if (kept < 0)
		return worker_fail_for_rights(&call, kept);
	worker.quarantine = take_fd(&fds[2]);
	worker_read_quarantine(&worker);
	call.verdicts_fd = fds[1];
	if (pread(fds[1], &worker.verdicts, sizeof(worker.verdicts), 0) !=
		(ssize_t)sizeof(worker.verdicts))
		return -EBADMSG;
	r = remote_body(&worker.arena, fds[3], &body, &len);
	if (r < 0)
		r = dispatch_error(&call, r);
	else if (message->kind == INNER_SETTLE)
		r = settle(&call, body, len, (uint32_t)message->aux);
	else
		r = dispatch(&call, body, len);
	worker.reply = fd_close(worker.reply);
	worker.quarantine = fd_close(worker.quarantine);
	return r;
}

static int thaw_for_nobody(const struct inner_message *message, uint64_t *ret_done)
{
	Postern__V1__FilesystemsThawReply reply = POSTERN__V1__FILESYSTEMS_THAW_REPLY__INIT;
	struct call call = {.arena = &worker.arena,
		.method = METHOD_filesystems_thaw,
		.deadline = message->deadline,
		.verdicts = &worker.verdicts,
		.program = &worker};
	int lock = -EBADF, r = freeze_lock(&call, &lock);

	r = r < 0 ? r : thaw(&call, false, (Postern__V1__ThawReason)message->arg, &reply);
	*ret_done = r < 0 ? RESTORE_FAILED : RESTORE_DONE;
	return 0;
}

/* What nobody called for. fd is the only descriptor that came with it. */
static int do_chore(const struct inner_message *message, int *fd, uint64_t *ret_done)
{
	struct call call = {.arena = &worker.arena,
		.method = METHOD_shares_mount,
		.deadline = UINT64_MAX,
		.verdicts = &worker.verdicts,
		.program = &worker};
	enum method method =
		message->kind == INNER_THAW ? METHOD_filesystems_thaw : METHOD_shares_mount;
	uint64_t caps = method_rows[method].caps;
	int r;

	if (message->kind == INNER_SAVE)
		return worker_keep(0, false) ?: save_history(&call, *fd);
	/* As if it were asked for with that method. */
	r = worker_keep(caps, false) ?: worker_raise(caps);
	worker.quarantine = take_fd(fd);
	worker_read_quarantine(&worker);
	if (r == 0 && message->kind == INNER_THAW)
		r = thaw_for_nobody(message, ret_done);
	else if (r == 0)
		*ret_done = share_restore(&call, message->arg);
	worker.quarantine = fd_close(worker.quarantine);
	return r;
}

/* The answer with its token is on its way: the caller opens the channel, or nobody does. */
static void serve_channel(void)
{
	struct inner_message message, closed = {.kind = INNER_CLOSED, .id = worker.channel.number};
	int fds[INNER_FDS_MAX], r;
	size_t n_fds;

	r = inner_receive(worker.broker, &message, NULL, 0, fds, &n_fds);
	if (r <= 0)
		return;
	if (message.kind == INNER_CHANNEL && n_fds == 1) {
		if (send(fds[0], "\1", 1, MSG_NOSIGNAL) == 1)
			worker.channel.serve(&worker.channel, fds[0]);
		closed.arg = worker.channel.from_caller;
		closed.aux = worker.channel.to_caller;
		(void)inner_send(worker.broker, &closed, NULL, NULL, 0);
	}
	inner_close_fds(fds);
}

/* One message of the broker. 1: go on; 0: the end; -errno. */
static int serve(void)
{
	struct inner_message message, done = {.kind = INNER_DONE};
	int fds[INNER_FDS_MAX], r;
	size_t n_fds;

	r = inner_receive(
		worker.broker, &message, &worker.facts, sizeof(worker.facts), fds, &n_fds);
	if (r <= 0)
		return r;
	/* It wanted us to leave a lane that we had left by then. */
	if (message.kind == INNER_YIELD)
		return 1;
	if (message.body_len != sizeof(worker.facts))
		message.kind = 0;
	done.aux = message.aux;
	arena_init(&worker.arena, ARENA_REQUEST_MAX);
	if ((message.kind == INNER_SAVE || message.kind == INNER_RESTORE ||
		    message.kind == INNER_THAW) &&
		n_fds == 1)
		r = do_chore(&message, &fds[0], &done.arg);
	else if (message.kind == INNER_RUN || message.kind == INNER_SETTLE)
		r = run(&message, fds, n_fds);
	else if (message.kind == INNER_SERVE)
		r = lane_serve(&worker, &message, fds, n_fds);
	else
		r = -EBADMSG;
	inner_close_fds(fds);
	if (worker.channel.number != 0)
		done.arg = 1;
	else
		arena_done(&worker.arena);
	/* EPIPE: the caller is gone; the work is done all the same. */
	if (r < 0 && r != -EPIPE)
		return r;
	r = inner_send(worker.broker, &done, NULL, NULL, 0);
	if (r == 0 && worker.channel.number != 0)
		serve_channel();
	return r < 0 ? r : worker.confinement.role == ROLE_READER;
}

/* Returns in a worker: 0 or -errno; -ESHUTDOWN in the process that they are forked of. */
static int be_zygote(pid_t broker)
{
	int r = zygote_serve();

	return r < 0 ? r : confine_end_with(broker);
}

int main(int argc, char **argv)
{
	pid_t broker = getppid();
	int r = 0;

	log_open("postern-worker", LOG_LEVEL_INFO);
	if (confine_from_args(argc, argv, &worker.confinement) < 0)
		return 1;
	if (worker.confinement.role == ROLE_WORKER)
		r = be_zygote(broker);
	if (r == -ESHUTDOWN)
		return 0;
	while (r >= 0 && (r = serve()) > 0)
		;
	if (r < 0)
		log_warning("a request failed: %s", strerror(-r));
	return r < 0;
}
