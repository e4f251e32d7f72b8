/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-job: runs one program for a caller. Started by posternd only. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/job/cgroup.h"
#include "agent/job/guard.h"
#include "agent/job/hooks.h"
#include "agent/job/job.h"
#include "agent/methods/judging.h"
#include "agent/methods/remote.h"
#include "agent/sandbox/confine.h"
#include "agent/zygote.h"
#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/log.h"

#define RUNS_SESSION 0
#define RUNS_READER  0
#define RUNS_WORKER  0
#define RUNS_BROKER  0
#define RUNS_WATCHER 0
#define RUNS_NEW_JOB 1
#define RUNS_JOB     1
#include "agent/methods/handlers.h"

static struct job_process job;

static int emit(struct call *call, bool last)
{
	struct inner_message granted = {.kind = INNER_GRANTED, .arg = job.used, .aux = job.call};

	/* Before the caller can use or look for them. */
	if (last && job.used != 0)
		(void)inner_send(job.broker, &granted, NULL, NULL, 0);
	return remote_reply(job.reply, call->out, last);
}

/* Answers one request. 0 or -errno; -EPIPE: the caller is gone, what was asked for is done. */
static int answer(const struct inner_message *message, int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct call call = {.arena = &job.arena,
		.id = message->id,
		.deadline = message->deadline,
		.max_frame = message->arg,
		.verdicts = &job.verdicts,
		.verdicts_fd = fds[1],
		.program = &job,
		.out = &job.out,
		.emit = emit,
		.judge = judge_request};
	uint8_t *body = NULL;
	size_t len = 0;
	int r;

	if (message->method >= METHOD_COUNT || n_fds < 3 || n_fds > 4 ||
		(method_rows[message->method].where != NEW_JOB) != job.started)
		return -EBADMSG;
	call.method = (enum method)message->method;
	if (pread(fds[1], &job.verdicts, sizeof(job.verdicts), 0) != (ssize_t)sizeof(job.verdicts))
		return -EBADMSG;
	job.reply = take_fd(&fds[0]);
	job.quarantine = take_fd(&fds[2]);
	job.used = 0;
	job.call = message->aux;
	r = remote_body(&job.arena, fds[3], &body, &len);
	r = r < 0 ? dispatch_error(&call, r) : dispatch(&call, body, len);
	job.reply = fd_close(job.reply);
	job.quarantine = fd_close(job.quarantine);
	arena_reset(&job.arena);
	return r;
}

static int run(const struct inner_message *message, int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct inner_message done = {.kind = INNER_DONE, .aux = message->aux};
	int r = answer(message, fds, n_fds);

	if (r < 0 && r != -EPIPE)
		return r;
	explicit_bzero(job.facts.grants, sizeof(job.facts.grants));
	r = inner_send(job.broker, &done, NULL, NULL, 0);
	if (r == 0 && !job.started)
		return -ECHILD;
	/* From here on: to send signals to it, whoever it runs as. */
	if (r == 0 && method_rows[message->method].where == NEW_JOB)
		r = job_keep(UINT64_C(1) << CAP_KILL);
	output_update(&job.output);
	output_update(&job.errors);
	return r;
}

static struct port *port_of(uint64_t number)
{
	if (job.stdio.number == number)
		return &job.stdio;
	return job.errors_port.number == number ? &job.errors_port : NULL;
}

static int take_message(
	const struct inner_message *message, void *body, int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct port *port;
	int r = 0;

	switch (message->kind) {
	case INNER_RUN:
		if (message->body_len != sizeof(job.facts))
			return -EBADMSG;
		memcpy(&job.facts, body, sizeof(job.facts));
		r = run(message, fds, n_fds);
		break;
	case INNER_VSH:
		if (message->body_len != sizeof(job.facts) || n_fds != 2 || job.started)
			return -EBADMSG;
		memcpy(&job.facts, body, sizeof(job.facts));
		job.call = message->aux;
		job.quarantine = take_fd(&fds[1]);
		r = vsh_open(&job.vsh, take_fd(&fds[0]), message->deadline);
		break;
	case INNER_HOOKS:
		if (message->body_len != sizeof(job.facts) || n_fds != 1 || job.started ||
			message->arg >= HOOK_EVENTS)
			return -EBADMSG;
		memcpy(&job.facts, body, sizeof(job.facts));
		hooks_run(job.facts.hooks_dir, (enum hook_event)message->arg, message->deadline,
			fds[0]);
		return -ECHILD;
	case INNER_GUARD:
		if (n_fds != 1 || job.started)
			return -EBADMSG;
		r = guard_run(fds[0]);
		return r < 0 ? r : -ECHILD;
	case INNER_CHANNEL:
		port = port_of(message->id);
		if (port && !port_is_open(port))
			port_open(port, take_fd(&fds[0]));
		break;
	case INNER_CUT:
		port = port_of(message->id);
		if (port && port_is_open(port)) {
			vsh_leave(&job.vsh);
			port_close(port);
			job_disconnected(&job);
		}
		break;
	case INNER_LEFT:
		job.left = true;
		job_disconnected(&job);
		break;
	case INNER_FORGET:
		job.forgotten = true;
		break;
	default:
		return -EBADMSG;
	}
	job_check(&job);
	return r;
}

static void on_broker(struct loop_io *io, uint32_t events)
{
	static struct worker_facts facts;
	int r = inner_take(io->fd, &facts, sizeof(facts), take_message);

	(void)events;
	if (r > 0 || r == -EAGAIN)
		return;
	if (r < 0 && r != -ECHILD)
		log_warning("a job ends: %s", strerror(-r));
	loop_stop(&job.loop, r == 0 || r == -ECHILD ? 0 : 1);
}

int main(int argc, char **argv)
{
	bool unit = argc == 2 && strcmp(argv[1], "unit") == 0;
	struct confinement confinement;
	int r;

	log_open("postern-job", LOG_LEVEL_INFO);
	/* Without a leaf programs go without limits of their own. */
	if (unit)
		(void)cgroup_enter_leaf();
	if (unit ? confine_unit_job() < 0 || zygote_tell_here() < 0
		 : confine_from_args(argc, argv, &confinement) < 0)
		return 1;
	/* A process 1 that brings the guest down signals everybody: programs get theirs. */
	(void)signal(SIGTERM, SIG_IGN);
	r = zygote_serve();
	if (r < 0)
		return r != -ESHUTDOWN;
	job.broker = INNER_FD;
	job.reply = job.quarantine = job.master = job.pidfd = job.cgroup_kill = -EBADF;
	job.stdio.socket = job.errors_port.socket = -EBADF;
	vsh_init(&job.vsh, &job);
	job.input.fd = job.output.fd = job.errors.fd = -EBADF;
	job.stdio.job = job.errors_port.job = &job;
	job.input.job = job.output.job = job.errors.job = &job;
	job.input.port = job.output.port = &job.stdio;
	job.errors.port = &job.errors_port;
	arena_init(&job.arena, ARENA_REQUEST_MAX);
	r = loop_init(&job.loop);
	job.broker_io.fn = on_broker;
	if (r == 0)
		r = loop_io_add(&job.loop, &job.broker_io, job.broker, EPOLLIN);
	if (r == 0)
		r = loop_run(&job.loop);
	job_abandon(&job);
	/* Where something is left in it, it stays. */
	if (job.has_cgroup)
		cgroup_remove(job.job.number);
	return r < 0 ? 1 : r;
}
