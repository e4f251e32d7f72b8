/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "agent/job/job.h"
#include "agent/methods/prototypes.h"

#define SIGNAL_MAX 64

int exec_signal(struct call *call, const Postern__V1__ExecSignalRequest *request,
	Postern__V1__ExecSignalReply *reply)
{
	struct job_process *job = call->program;
	int r;

	(void)reply;
	if (request->signal == 0 || request->signal > SIGNAL_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EINVAL,
			"signal: expected 1 to 64");
	r = job_signal(job, (int)request->signal, request->only_leader);
	if (r == -ESRCH)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ESRCH,
			"the program has ended");
	return r < 0 ? call_fail_errno(call, r, "signal %u", request->signal) : 0;
}

int exec_resize(struct call *call, const Postern__V1__ExecResizeRequest *request,
	Postern__V1__ExecResizeReply *reply)
{
	struct job_process *job = call->program;
	struct winsize size = {.ws_row = (unsigned short)request->rows,
		.ws_col = (unsigned short)request->columns};

	(void)reply;
	if (!job->job.terminal)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOTTY,
			"the program has no terminal");
	if (request->rows > UINT16_MAX || request->columns > UINT16_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ERANGE,
			"rows and columns are at most 65535");
	if (job->master < 0 || job->ended)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ESRCH,
			"the program has ended, or its terminal was hung up");
	if (ioctl(job->master, TIOCSWINSZ, &size) < 0)
		return call_fail_errno(call, -errno, "the terminal's size");
	return 0;
}
