/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From exec.start's request to what is started. */
#pragma once

#include "agent/job/program.h"
#include "agent/methods/call.h"
#include "exec.pb-c.h"

#define SPEC_SPOOL_DEFAULT (64u << 10)
#define SPEC_SPOOL_MAX     (1u << 20)

struct spec {
	struct program program; /* without stdio and cgroup */
	struct account account;
	Postern__V1__Stdio stdio[3];
	Postern__V1__Disconnect on_disconnect;
	size_t spool_bytes;
	uint64_t deadline_ms;
};

/* Checks and looks up all of it; what it holds lives in the call's arena. 0, or -errno through
 * call_fail(). May block for the guest's name service. */
int spec_make(struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *ret);
