/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request on its way from the row to the reply. A handler is
 *
 *   int mounts_list(struct call *call, const MountsListRequest *request, MountsListReply *reply)
 *
 * It fills in the reply with memory of call->arena and returns 0, or returns -errno, best through
 * call_fail(). It never touches a socket, never checks permission, never logs, and frees nothing of
 * the arena.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/policy/policy.h"
#include "agent/row.h"
#include "error.pb-c.h"
#include "proto/arena.h"
#include "proto/buffer.h"
#include "system.pb-c.h"

struct call {
	struct arena *arena;
	enum method method;
	uint64_t id;
	uint64_t deadline;               /* CLOCK_MONOTONIC, ns */
	size_t max_frame;                /* highest frame that the caller takes, bytes */
	const struct verdicts *verdicts; /* what this caller may do */
	int verdicts_fd;                 /* borrowed: the same, and the clauses behind them */
	void *program;                   /* struct session or struct worker */

	struct buffer *out; /* of the program: where frames of the answer go */

	/* Sends the frame that was put there; NULL: the program does it later. 0 or -errno. */
	int (*emit)(struct call *call, bool last);
	/* Whether the caller may ask for just this; NULL: whether he may was decided by the method
	 * alone. 0, or -errno after call_fail(). */
	int (*judge)(struct call *call, const ProtobufCMessage *request);
	/* Called between the checks and the handler; NULL: nothing to do. */
	int (*prepare)(struct call *call);

	/* Set by a handler whose act must come after its answer; NULL mostly. */
	void (*after)(struct call *call, int arg);
	int after_arg;

	/* What call_fail() left. */
	Postern__V1__Error *error;

	/* For a row that changes something, should the handler fail now; 0: NOT_DONE. */
	Postern__V1__Outcome outcome;
};

/* Says why: the handler returns what this returns. sys_errno 0: no kernel error behind it. */
int call_fail(struct call *call, Postern__V1__Code code, int sys_errno, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* call_fail() for a kernel error, with the code that its errno stands for; "WHAT: strerror". */
int call_fail_errno(struct call *call, int negative_errno, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The answer comes later, by other means: the handler returns this. */
#define CALL_DEFERRED (-EINPROGRESS)

/* Sends a part of a streaming method's answer; the handler's own reply is the last one. */
int call_more(struct call *call, const ProtobufCMessage *reply);

/* How many bytes of a streaming method's answer go into one part, so that the caller's frames hold
 * it. */
size_t call_part_size(const struct call *call);

/* The canonical code for an errno (positive). */
Postern__V1__Code code_of_errno(int sys_errno);

/* A copy of bytes in the arena as a protobuf field: {len, data}. */
ProtobufCBinaryData call_bytes(struct call *call, const void *data, size_t len);

/* The same for text; NULL becomes empty. */
ProtobufCBinaryData call_text(struct call *call, const char *text);

/*
 * A path or another kernel string that came as bytes: NUL-terminated copy in the arena, or NULL
 * with call_fail() done when it is absent, empty, holds a NUL byte or is longer than most.
 */
char *call_string(struct call *call, bool has, const ProtobufCBinaryData *bytes, size_t most,
	const char *field);

/* call_string() for an absolute path without "." and ".." in it; doubled and trailing slashes are
 * taken out. */
char *call_path(struct call *call, bool has, const ProtobufCBinaryData *bytes, const char *field);

/* Packs one FromAgent frame with a result or an error at the end of out. 0, -EMSGSIZE, -ENOMEM. */
int reply_result(
	struct buffer *out, uint64_t id, const ProtobufCMessage *result, bool more, size_t limit);
int reply_error(struct buffer *out, uint64_t id, Postern__V1__Error *error, size_t limit);

/* One row as session and worker know it. */
struct handler {
	const ProtobufCMessageDescriptor *request;
	/* NULL where the program does not run this row: reply, and what only it refers to, is then
	 * not in its memory either. */
	const ProtobufCMessageDescriptor *reply;
	int (*run)(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply);
	/* Worker only: what became of a killed call. */
	int (*settle)(
		struct call *call, const ProtobufCMessage *request, Postern__V1__Outcome *ret);
	/* Worker only: 0, or a reason why the method cannot work here. */
	Postern__V1__Availability (*needs)(char *reason, size_t size);
};

/* Each program has its own. */
extern const struct handler handlers[METHOD_COUNT];

/*
 * Carries a request from its bytes to its last frame: check, decode into the arena, judge, prepare,
 * handler, encode, emit. Emits exactly one last frame unless the handler deferred. Returns 0,
 * CALL_DEFERRED, or -errno when the frame could not be emitted.
 */
int dispatch(struct call *call, const uint8_t *params, size_t len);

/* Emits the call's error as the last frame (an INTERNAL one where call_fail() was not called). */
int dispatch_error(struct call *call, int negative_errno);
