/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a caller is told whose request another process has not answered. */
#include <stdio.h>

#include "agent/session/session.h"
#include "proto/cleanup.h"

void request_ended(struct request *request, uint32_t why)
{
	static const struct {
		Postern__V1__Code code;
		const char *message;
	} reasons[] = {
		[ENDED_CRASHED] = {POSTERN__V1__CODE__INTERNAL,
			"the worker ended without an answer"},
		[ENDED_DEADLINE] = {POSTERN__V1__CODE__DEADLINE_EXCEEDED, "not done in time"},
		[ENDED_CANCELLED] = {POSTERN__V1__CODE__CANCELLED, "cancelled by the caller"},
		[ENDED_DENIED] = {POSTERN__V1__CODE__PERMISSION_DENIED, "denied by the policy"},
		[ENDED_BUSY] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			"too many requests, jobs or channels are under way; try again"},
		[ENDED_NO_WORKER] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			"no process could be started for this"},
		[ENDED_NO_JOB] = {POSTERN__V1__CODE__NOT_FOUND,
			"no such job of this caller; exec.list has them"},
		[ENDED_JOB_OVER] = {POSTERN__V1__CODE__FAILED_PRECONDITION,
			"the program has ended, and nothing of its output was kept"},
		[ENDED_FROZEN] = {POSTERN__V1__CODE__FAILED_PRECONDITION,
			"file systems are frozen (filesystems.status says for how long), and this "
			"may want to write; ask again when they are thawed"},
		[ENDED_HUNG] = {POSTERN__V1__CODE__UNAVAILABLE,
			"too many of the agent's processes hang on file systems that do not "
			"answer; unmount those lazily (mounts.unmount), or restart the guest"},
	};
	struct session *session = request->session;
	uint32_t reason = why & ~(uint32_t)(ENDED_STUCK | ENDED_NOT_DONE);
	bool not_done = why & ENDED_NOT_DONE || reason >= ENDED_DENIED;

	char text[256];

	if (reason >= ARRAY_SIZE(reasons) || !reasons[reason].message)
		return;
	(void)snprintf(text, sizeof(text), "%s%s", reasons[reason].message,
		why & ENDED_NOT_DONE && method_rows[request->method].flags & MUTATING
			? "; nothing was changed"
			: "");
	request_end(session, request->id, request->method, reasons[reason].code,
		not_done ? POSTERN__V1__OUTCOME__NOT_DONE : POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN,
		text);
}
