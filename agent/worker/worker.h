/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker program: as a reader it answers requests without any capability, one after another; as
 * a worker it answers one with the capabilities of its row, or what comes by one lane, and ends.
 */
#pragma once

#include <sys/types.h>

#include "agent/inner.h"
#include "agent/methods/call.h"
#include "agent/sandbox/confine.h"
#include "agent/touch.h"
#include "channels.pb-c.h"

/* What a handler leaves to be done with a channel, once its answer is written. */
struct worker_channel {
	uint64_t number; /* 0: there is none */
	/* The caller has opened it: socket is borrowed. */
	void (*serve)(struct worker_channel *channel, int socket);
	void *state;                     /* of the handler; its memory lives until the end */
	int broker;                      /* borrowed */
	uint64_t from_caller, to_caller; /* bytes so far, by serve() */
	uint64_t told_ns;
};

struct worker {
	struct confinement confinement;
	int broker;             /* descriptor 3 */
	uint64_t call;          /* the broker's number of the request at hand */
	int reply;              /* owned; pipe or lane to the session, of the request at hand */
	int quarantine;         /* owned; struct quarantine */
	struct quarantine hung; /* what it said when the request at hand began */
	struct touched *touch; /* where we say what we touch; in a child that may hang for us: where
				* its parent looks; NULL: nothing was touched yet */
	struct verdicts verdicts;
	struct worker_facts facts;
	struct arena arena;
	struct worker_channel channel;
	struct buffer out; /* the frame that is being answered; its memory is kept */
};

/* call->prepare, between the checks and the handler: only now do the capabilities take effect. 0 or
 * -errno. */
int worker_prepare(struct call *call);

/* The agent can have been started with less than root has: answers so. As dispatch_error(). */
int worker_fail_for_rights(struct call *call, int negative_errno);

/* Folders of the agent's state: of this boot, and the one that outlives it. */
const struct worker_facts *worker_facts(const struct call *call);

/* Says which file system is asked next, so that it is known should this process hang there. */
void worker_touch(struct call *call, dev_t device, enum touch how);

/* Nothing is touched any longer. */
void worker_touch_done(struct call *call);

/* The change that the method is for begins now. Until this is said, a worker that is killed has
 * changed nothing; from here on somebody has to look, and a handler that fails says in
 * call->outcome what it knows. */
void worker_changing(struct call *call);

/* Of the broker, never used twice while it runs. */
uint64_t worker_call_number(struct call *call);

/* Tells the broker that file systems may be frozen from here on; it has them thawed when this many
 * milliseconds are over (0: when the request ends), or the caller is gone. */
void worker_freezing(struct call *call, uint32_t lease_ms);

/* ... and that none is any more. */
void worker_thawed(struct call *call);

/* The guest is of this generation from now on. */
void worker_generation(struct call *call, uint64_t generation);

/* Has the broker find somebody who thaws what is told through the socket (borrowed), should the
 * agent die. 0 or -errno. */
int worker_want_guard(struct call *call, int socket);

/* Has the broker see to it that the hooks of an event (enum hook_event) are run; who does tells
 * through the socket (borrowed). 0 or -errno. */
int worker_want_hooks(struct call *call, uint32_t event, uint64_t deadline, int socket);

/* Tells the broker that a child of ours hangs on a device while it looks, and treats the device as
 * quarantined for the rest of the request. pid 0: the child could be ended. */
void worker_hung(struct call *call, pid_t pid, dev_t device);

/* Looks who hangs on what, and what is frozen; once a request, before anything is touched. */
void worker_read_quarantine(struct worker *worker);

/* What is frozen through the agent. */
const struct freeze_facts *worker_freeze(const struct call *call);

/* True when anybody hangs on anything. */
bool worker_has_quarantine(struct call *call);

/* True when somebody hangs on this device already so that it must not be touched in this way: where
 * one waits to write, others may still look. */
bool worker_is_quarantined(struct call *call, dev_t device, enum touch how);

/* A connection to postern-kmod (owned by the caller). 0 or -errno. */
int worker_kmod(struct call *call, int *ret_fd);

/* Grants a channel to the caller: it goes into the answer. NULL: there is none left, or no memory.
 */
Postern__V1__Channel *worker_grant(
	struct call *call, void (*serve)(struct worker_channel *channel, int socket), void *state);

/* Tells the broker the counts of a channel, but not more often than a few times a second. */
void worker_count(struct worker_channel *channel);

/* Has the watcher send a notification. */
void worker_notify(struct call *call, enum topic topic, const ProtobufCMessage *message);
