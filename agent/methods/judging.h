/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* call->judge of the processes that a request is run in. */
#pragma once

#include "agent/methods/call.h"

/*
 * Where the policy's rules ask for parameters, whether they allow this request, by
 * call->verdicts_fd; where a path decided, no link is followed from here on until the next request
 * is judged. 0; -EACCES after call_fail(), the rule in the error; or -errno, and nothing is to be
 * run.
 */
int judge_request(struct call *call, const ProtobufCMessage *request);
