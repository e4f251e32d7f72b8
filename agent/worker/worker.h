/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker program: as a reader it answers requests without any capability, one after another; as
 * a worker it answers one with the capabilities of its row, and ends.
 */
#pragma once

#include <sys/types.h>

#include "agent/inner.h"
#include "agent/methods/call.h"
#include "agent/sandbox/confine.h"

struct worker {
	struct confinement confinement;
	int broker;             /* descriptor 3 */
	int reply;              /* owned; pipe to the session, of the request at hand */
	int quarantine;         /* owned; struct quarantine */
	struct quarantine hung; /* as it was when the request at hand began */
	struct verdicts verdicts;
	struct worker_facts facts;
	struct arena arena;
	struct buffer out; /* the frame that is being answered; its memory is kept */
};

/* Folders of the agent's state: of this boot, and the one that outlives it. */
const struct worker_facts *worker_facts(const struct call *call);

/* Tells the broker what is touched next, so that it is known should this process hang there. 0: no
 * longer anything. */
void worker_touch(struct call *call, dev_t device);

/* Tells it that a child of ours hangs on a device. */
void worker_hung(struct call *call, pid_t pid, dev_t device);

/* Looks who hangs on what; once a request, before anything is touched. */
void worker_read_quarantine(struct worker *worker);

/* True when anybody hangs on anything. */
bool worker_has_quarantine(struct call *call);

/* True when somebody hangs on this device already: it must not be touched. */
bool worker_is_quarantined(struct call *call, dev_t device);

/* A connection to postern-kmod (owned by the caller). 0 or -errno. */
int worker_kmod(struct call *call, int *ret_fd);

/* Has the watcher send a notification. */
void worker_notify(struct call *call, enum topic topic, const ProtobufCMessage *message);
