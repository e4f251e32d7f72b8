/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/job/job.h"
#include "agent/job/spec.h"
#include "agent/methods/job/grant.h"
#include "agent/methods/prototypes.h"

static int grant_channels(
	struct call *call, const struct spec *spec, Postern__V1__ExecStartReply *reply)
{
	struct job_process *job = call->program;

	if (spec->stdio[0] == POSTERN__V1__STDIO__CHANNEL ||
		spec->stdio[1] == POSTERN__V1__STDIO__CHANNEL) {
		reply->stdio = grant_channel(call, &job->stdio);
		if (!reply->stdio)
			return -ENOMEM;
	}
	if (!spec->program.terminal && spec->stdio[2] == POSTERN__V1__STDIO__CHANNEL) {
		reply->errors = grant_channel(call, &job->errors_port);
		if (!reply->errors)
			return -ENOMEM;
	}
	return 0;
}

int exec_start(struct call *call, const Postern__V1__ExecStartRequest *request,
	Postern__V1__ExecStartReply *reply)
{
	struct job_process *job = call->program;
	struct spec *spec = arena_alloc(call->arena, sizeof(*spec));
	enum program_step step;
	int r = spec ? spec_make(call, request, spec) : -ENOMEM;

	if (r == 0)
		r = grant_channels(call, spec, reply);
	if (r == 0)
		r = job_start(call, request, spec, &step);
	if (r < 0) {
		job->used = 0;
		return r;
	}
	reply->has_job = reply->has_pid = true;
	reply->job = job->facts.job;
	reply->pid = job->job.pid;
	return 0;
}
