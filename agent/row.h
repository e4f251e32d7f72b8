/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One method is one row, and the row is the only place that knows that it exists: in
 * agent/methods/SERVICE.rows,
 *
 *   METHOD(service, rpc, Type, where, caps, profile, default_ms, max_ms, flags, settle, needs,
 *          summary)
 *
 * service, rpc  as in the .proto, in lower case: "mounts", "list" is mounts.list; the handler is
 *               the function mounts_list()
 * Type          "MountsList": the messages are MountsListRequest and MountsListReply
 * where         SESSION, BROKER, WATCHER, READER, WORKER, NEW_JOB or JOB
 * caps          capabilities while the handler runs, CAP(SYS_ADMIN) | ...; 0 unless a WORKER
 * profile       which class of system calls it needs, of enum profile below
 * default_ms    time for an answer when the caller asks for none, and the most it can ask for
 * max_ms
 * flags         MUTATING, STREAMING, SAFE_FROZEN, WHEN_STUCK, GRANTS, GRANTS_MORE, HOOKS,
 *               KEPT, BY_UEVENTS, or 0
 * settle        SETTLE(function) that finds out what became of a killed call, or NO_SETTLE
 * needs         function that says why the method cannot work here, or needs_nothing
 * summary       one line for a person
 *
 * TOPIC(name, text, state, summary) rows in agent/methods/topics.rows are the notifications. STATE:
 * the guest's current state can be told as events of this topic; NO_STATE: it only says that
 * something is over.
 *
 * Each program expands the rows to its own part: the broker (agent/row.c) to what it decides by,
 * the session and the worker also to descriptors and handlers (agent/methods/handlers.h).
 */
#pragma once

#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From READER on: in a process that the broker finds for the request. */
enum where {
	SESSION, /* in the session itself: needs no library but libprotobuf-c */
	BROKER,  /* in the session, with what only the broker knows or can do: session_ask() */
	WATCHER, /* in the watcher, which keeps what it is about */
	READER,  /* in a kept process without capabilities that sees what process 1 sees */
	WORKER, /* in a fresh process with the row's capabilities, for this one request or, of a row
		 * that is KEPT, for this one connection */
	NEW_JOB, /* in a fresh process that starts a program, and stays to look after it */
	JOB,     /* in that process: of the job that the request's field "job" names */
};

enum row_flags {
	MUTATING = 1 << 0,    /* changes something in the guest */
	STREAMING = 1 << 1,   /* may answer in several parts */
	SAFE_FROZEN = 1 << 2, /* may run while file systems are frozen */
	WHEN_STUCK = 1 << 3,  /* may help where processes hang: begun however many do */
	GRANTS = 1 << 4,      /* its answer may grant channels */
	GRANTS_MORE = 1 << 5, /* ... and while that one is open its process may grant more */
	HOOKS = 1 << 6,       /* programs of the administrator are run around it */
	KEPT = 1 << 7, /* of a WORKER that only looks, and leaves its process as it found it: that
			* one serves what its caller asks next of rows with the same rights */
	BY_UEVENTS = 1 << 8, /* of a READER without parameters: its answer holds until the kernel
			      * has told of a change of any device */
};

#define CAP(name) (UINT64_C(1) << CAP_##name)

/* What a mount may need. An overlay keeps its mounter's capabilities for all that it does in its
 * upper folder as long as it is mounted, so those of a file's owner are among them. */
#define MOUNT_CAPS                                                                                 \
	(CAP(SYS_ADMIN) | CAP(DAC_READ_SEARCH) | CAP(DAC_OVERRIDE) | CAP(CHOWN) | CAP(FOWNER) |    \
		CAP(FSETID))

/* To become a user, for what is his. */
#define USER_CAPS (CAP(SETUID) | CAP(SETGID) | CAP(DAC_READ_SEARCH))

/* To change any file; and to say whose it is. */
#define WRITE_CAPS (CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER))
#define OWNER_CAPS (WRITE_CAPS | CAP(CHOWN) | CAP(FSETID))

enum profile {
	PROFILE_SESSION,
	PROFILE_WATCH,
	PROFILE_READER,
	PROFILE_MOUNT,
	PROFILE_POWER,
	PROFILE_MODULES,
	PROFILE_SOCKETS,
	PROFILE_JOB,
	PROFILE_FILES,
	PROFILE_CLOCK,
	PROFILE_NETWORK, /* sockets of the Internet families */
};

enum method {
#define METHOD(service, rpc, Type, where, caps, profile, default_ms, max_ms, flags, settle, needs, \
	summary)                                                                                   \
	METHOD_##service##_##rpc,
#include "methods.rows"
#undef METHOD
	METHOD_COUNT
};

enum topic {
#define TOPIC(name, text, state, summary) TOPIC_##name,
#include "agent/methods/topics.rows"
#undef TOPIC
	TOPIC_COUNT
};

struct method_row {
	const char *name;
	size_t name_len;
	enum where where;
	enum profile profile;
	uint64_t caps;
	uint32_t default_ms;
	uint32_t max_ms;
	unsigned int flags;
	bool settles; /* a killed call has a settle function */
	const char *summary;
};

struct topic_row {
	const char *name;
	bool has_state;
	const char *summary;
};

extern const struct method_row method_rows[METHOD_COUNT];
extern const struct topic_row topic_rows[TOPIC_COUNT];

/* True when its process serves one request after another, which come by a lane (lane.h). */
bool row_has_lane(enum method method);

/* True when a process that was found for the first may serve the second, too. */
bool row_same_lane(enum method first, enum method second);

/* The row of a method's name of len bytes (need not end in NUL); METHOD_COUNT: there is none. */
enum method method_find(const char *name, size_t len);
