/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A prototype for each row: a handler that takes other messages than its rpc does not compile.
 * Every file with a handler includes this. */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

#define METHOD(service, rpc, Type, where, caps, profile, default_ms, max_ms, flags, settle, needs, \
	summary)                                                                                   \
	int service##_##rpc(struct call *call, const Postern__V1__##Type##Request *request,        \
		Postern__V1__##Type##Reply *reply);
#include "methods.rows"
#undef METHOD
