/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/capability.h>

#include "agent/job/job.h"
#include "agent/sandbox/confine.h"

static int open_stream(struct vsh_stream *stream, struct port *port)
{
	struct job_process *job = stream->vsh->job;
	struct grant grant;
	int r = -ENOMEM;

	if (port_grant(job, port, &grant))
		r = port_pair(port, &stream->fd);
	stream->io.fn = vsh_on_stream;
	stream->ended = r < 0;
	return r;
}

static int open_streams(struct vsh *vsh, struct call *call, bool terminal)
{
	int r = open_stream(&vsh->output, &vsh->job->stdio);

	if (r == 0 && !terminal)
		r = open_stream(&vsh->errors, &vsh->job->errors_port);
	return r < 0 ? call_fail_errno(call, r, "the program's standard streams") : 0;
}

/* What vshd says of this, word for word: there are programs that look for it. */
static int fail_user(struct call *call, const char *what, const ProtobufCBinaryData *user)
{
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0, "%s: %.*s", what, (int)user->len,
		(const char *)user->data);
}

static int run(
	struct vsh *vsh, struct call *call, const Postern__Vsh__SetupConnectionRequest *asked)
{
	struct spec *spec = arena_alloc(call->arena, sizeof(*spec));
	const Postern__V1__ExecStartRequest *request = vsh_request(call, asked);
	enum program_step step;
	int r;

	if (!request || !spec)
		return call->error ? -EINVAL : call_fail_errno(call, -ENOMEM, "request");
	r = spec_make(call, request, spec);
	if (r < 0 && asked->user.len > 0 && call->error &&
		call->error->code == POSTERN__V1__CODE__NOT_FOUND)
		return fail_user(call, "could not find user", &asked->user);
	if (r == 0)
		r = open_streams(vsh, call, request->terminal != NULL);
	if (r < 0)
		return r;
	r = job_start(call, request, spec, &step);
	if (r < 0 && step == PROGRAM_ACCOUNT && asked->user.len > 0)
		return fail_user(call, "cannot change to user", &asked->user);
	if (r < 0 && step == PROGRAM_STDIO && request->terminal)
		return call_fail(call, POSTERN__V1__CODE__INTERNAL, 0, "could not allocate pty");
	return r;
}

/* The broker hears what came of it, as of a call. 0 or -errno. */
static int tell_broker(struct job_process *job)
{
	struct inner_message granted = {.kind = INNER_GRANTED, .arg = job->used, .aux = job->call};
	struct inner_message done = {.kind = INNER_DONE, .aux = job->call};
	int r = job->started ? inner_send(job->broker, &granted, NULL, NULL, 0) : 0;

	return r == 0 ? inner_send(job->broker, &done, NULL, NULL, 0) : r;
}

/* All rights end here, those that were not needed too, but to send signals to the program. */
static int give_up_rights(bool started)
{
	int r = job_raise();

	return r == 0 ? job_keep(started ? UINT64_C(1) << CAP_KILL : 0) : r;
}

int vsh_start(struct vsh *vsh, const uint8_t *body, size_t len, const char **ret_why)
{
	struct job_process *job = vsh->job;
	struct call call = {.arena = &job->arena,
		.method = METHOD_exec_start,
		.verdicts = &job->verdicts,
		.program = job,
		.out = &job->out};
	const Postern__Vsh__SetupConnectionRequest *asked =
		(const Postern__Vsh__SetupConnectionRequest *)verify_unpack(
			&postern__vsh__setup_connection_request__descriptor, body, len, &vsh_limits,
			&job->arena, ret_why);
	int r;

	if (asked && run(vsh, &call, asked) < 0)
		*ret_why = call.error ? call.error->message : "no memory";
	r = give_up_rights(job->started);
	return r == 0 ? tell_broker(job) : r;
}
