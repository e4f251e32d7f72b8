/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rows as handlers: thunks from the generic to the typed form. A program defines RUNS_SESSION,
 * RUNS_BROKER, RUNS_WATCHER, RUNS_READER, RUNS_WORKER, RUNS_NEW_JOB and RUNS_JOB as 1 or 0 before
 * it includes this, and gets its handlers[].
 */
#pragma once

#include "agent/methods/call.h"
#include "agent/methods/prototypes.h"

#define PASTE(a, b)  a##b
#define EXPAND(a, b) PASTE(a, b)
#define IF_1(...)    __VA_ARGS__
#define IF_0(...)

/* Thunks for the rows that this program runs. */
#define METHOD(service, rpc, Type, where, caps, profile, default_ms, max_ms, flags, settle, needs, \
	summary)                                                                                   \
	EXPAND(IF_, EXPAND(RUNS_, where))                                                          \
	(static int run_##service##_##rpc(                                                         \
		struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply) {     \
		return service##_##rpc(call, (const Postern__V1__##Type##Request *)request,        \
			(Postern__V1__##Type##Reply *)reply);                                      \
	})
#include "methods.rows"
#undef METHOD

#if RUNS_WORKER
#define SETTLE(function)             function
#define NO_SETTLE                    NULL
#define WORKER_ONLY(settle_, needs_) .settle = settle_, .needs = needs_,
#else
#define WORKER_ONLY(settle_, needs_)
#endif

#define REPLY(name) .reply = &postern__v1__##name##_reply__descriptor, .run = run_##name,
/* The watcher is always there, and meets no rows but its own: the descriptors of all others would
 * be memory for nothing. */
#if RUNS_WATCHER
#define REQUEST(where, name)                                                                       \
	EXPAND(IF_, EXPAND(RUNS_, where))(.request = &postern__v1__##name##_request__descriptor, )
#else
#define REQUEST(where, name) .request = &postern__v1__##name##_request__descriptor,
#endif

const struct handler handlers[METHOD_COUNT] = {
#define METHOD(service, rpc, Type, where, caps, profile, default_ms, max_ms, flags, settle, needs, \
	summary)                                                                                   \
	[METHOD_##service##_##rpc] = {REQUEST(where, service##_##rpc) EXPAND(                      \
		IF_, EXPAND(RUNS_, where))(REPLY(service##_##rpc)) WORKER_ONLY(settle, needs)},
#include "methods.rows"
#undef METHOD
};
