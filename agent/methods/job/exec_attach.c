/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/methods/job/grant.h"
#include "agent/methods/prototypes.h"

/* Where in the stream the new caller begins. */
static uint64_t begin(const struct output *output, bool from_start)
{
	if (!from_start)
		return output_total(output);
	return output->spool.size > 0 ? spool_dropped(&output->spool) : output_total(output);
}

int exec_attach(struct call *call, const Postern__V1__ExecAttachRequest *request,
	Postern__V1__ExecAttachReply *reply)
{
	struct job_process *job = call->program;

	if ((port_is_used(&job->stdio) || port_is_used(&job->errors_port)) && !request->take_over)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
			"somebody is attached already; take_over takes their place");
	if (vsh_is_open(&job->vsh))
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
			"a client of vsh has started it, whose place nobody can take");
	if (job->ended && !job->job.keeps_spool)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ESRCH,
			"the program has ended, and nothing of its output was kept");
	/* They are somebody's again at once: the program does not lose its caller. */
	port_drop(&job->stdio);
	port_drop(&job->errors_port);
	reply->has_output_dropped = true;
	reply->output_dropped = begin(&job->output, request->from_start);
	output_replay(&job->output, reply->output_dropped);
	reply->stdio = grant_channel(call, &job->stdio);
	if (!reply->stdio)
		return -ENOMEM;
	if (job->master >= 0)
		return 0;
	reply->has_errors_dropped = true;
	reply->errors_dropped = begin(&job->errors, request->from_start);
	output_replay(&job->errors, reply->errors_dropped);
	reply->errors = grant_channel(call, &job->errors_port);
	return reply->errors ? 0 : -ENOMEM;
}
