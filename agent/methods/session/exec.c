/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs as the broker keeps them. */
#include <errno.h>
#include <string.h>

#include "agent/methods/job_message.h"
#include "agent/methods/prototypes.h"
#include "agent/session/session.h"

static int no_such_job(struct call *call, const struct told *told)
{
	if (told->error == EBUSY)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
			"the job runs: end it with exec.signal first");
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, told->error,
		"no such job of this caller; exec.list has them");
}

int exec_list(struct call *call, const Postern__V1__ExecListRequest *request,
	Postern__V1__ExecListReply *reply)
{
	const struct job_facts *facts;
	const struct told *told;
	size_t n;
	int r = session_ask(call, 0, 0, &told);

	(void)request;
	if (r < 0)
		return r;
	facts = told->body;
	n = told->len / sizeof(*facts);
	reply->jobs = arena_alloc(call->arena, (n + 1) * sizeof(*reply->jobs));
	if (!reply->jobs)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		reply->jobs[i] = job_message(call->arena, &facts[i]);
		if (!reply->jobs[i])
			return -ENOMEM;
		reply->n_jobs++;
	}
	return 0;
}

int exec_wait(struct call *call, const Postern__V1__ExecWaitRequest *request,
	Postern__V1__ExecWaitReply *reply)
{
	const struct told *told;
	int r = session_ask(call, request->job, 0, &told);

	if (r < 0)
		return r;
	if (told->error || told->len != sizeof(struct job_facts))
		return no_such_job(call, told);
	reply->job = job_message(call->arena, told->body);
	return reply->job ? 0 : -ENOMEM;
}

int exec_forget(struct call *call, const Postern__V1__ExecForgetRequest *request,
	Postern__V1__ExecForgetReply *reply)
{
	const struct told *told;
	int r = session_ask(call, request->job, 0, &told);

	(void)reply;
	return r < 0 || told->error == 0 ? r : no_such_job(call, told);
}
