/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/methods/prototypes.h"
#include "agent/session/session.h"
#include "proto/limits.h"

int filesystems_extend(struct call *call, const Postern__V1__FilesystemsExtendRequest *request,
	Postern__V1__FilesystemsExtendReply *reply)
{
	const struct told *told;
	int r = session_ask(call, request->lease, request->lease_ms, &told);

	(void)reply;
	if (r < 0 || told->error == 0)
		return r;
	if (told->error == EINVAL)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"lease_ms: expected %d to %d", FREEZE_LEAST_MS, FREEZE_MOST_MS);
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, told->error,
		"no such lease of this caller; it may be over, filesystems.status says");
}
