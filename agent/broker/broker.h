/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's state. One process, one thread, libc only. It knows who each peer is, decides by
 * method, starts every other process, and never reads what a peer sends.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/config/config.h"
#include "agent/inner.h"
#include "agent/policy/policy.h"
#include "agent/sandbox/confine.h"
#include "proto/limits.h"
#include "proto/list.h"
#include "proto/listener.h"
#include "proto/loop.h"

#define IDLE_READERS 2

/* Where somebody may connect. */
enum peer_listener { PEER_VSOCK, PEER_UNIX, PEER_VSH_VSOCK, PEER_VSH_UNIX, PEER_LISTENERS };

struct broker;
struct session;
struct call;
struct job;

/* A process that the broker started. */
struct child {
	struct broker *broker;
	struct list_node node; /* broker->children */
	enum role role;
	bool spare; /* nobody has used it yet */
	pid_t pid;  /* 0: it was started for us, and has not told yet */
	int pidfd;  /* owned; -EBADF: the same */
	int socket; /* owned; our end of the pair */
	struct loop_io pid_io;
	struct loop_io socket_io;
	int touch;          /* owned; where it says what it touches (touch.h), -EBADF: nothing */
	bool changing;      /* it has begun to change something */
	uint64_t killed_ns; /* CLOCK_MONOTONIC; 0: not killed */
	enum method method; /* what it runs, METHOD_COUNT: nothing */
	/* Called once when the process is gone; frees whatever owns the child. */
	void (*on_exit)(struct child *child);
	/* Called for each message; fds are closed after it unless taken. */
	void (*on_message)(struct child *child, const struct inner_message *message,
		const void *body, int fds[INNER_FDS_MAX], size_t n_fds);
	void *owner;     /* struct session, struct call or struct lane, by role */
	struct job *job; /* of ROLE_JOB: whose program it looks after */
};

/* Descriptors opened once and lent to sessions and the watcher. */
struct sources {
	int session[SESSION_FD_COUNT]; /* -EBADF where the kernel lacks it */
	int watch[WATCH_FD_COUNT];
	int quarantine; /* struct quarantine, read and write */
	int quarantine_ro;
};

/* A process that outlived its SIGKILL. */
struct stuck {
	pid_t pid; /* 0: free slot */
	int pidfd; /* owned; -EBADF where a struct child watches it */
	struct loop_io io;
	enum method method;
	uint64_t device;
	bool writes_only;  /* it wanted to write; others may look */
	uint64_t since_ns; /* CLOCK_MONOTONIC */
	struct broker *broker;
};

/* A process that works for nobody in particular. */
struct chore {
	struct child *child; /* NULL: none runs */
	struct loop_timer deadline;
	uint64_t result;
	void (*ended)(struct broker *broker, uint64_t result);
};

/* What is frozen through the agent. */
struct freeze {
	uint64_t lease; /* number of the call that froze; 0: nothing is */
	struct identity identity;
	struct session
		*session;  /* that the lease is bound to; NULL: it is gone, or thawing began */
	uint64_t until_ns; /* CLOCK_MONOTONIC; 0: it is being frozen, or thawed */
	struct loop_timer timer;
	unsigned int why; /* it is being thawed, enum thaw_why; 0: nobody has begun to */
	struct chore thawer;
	struct child *guard;   /* thaws should we die; NULL: there is none */
	struct child *unguard; /* one whose file systems are thawed; told when the caller knows */
};

struct broker {
	struct loop loop;
	struct config config;
	struct policy policy;
	struct session_facts facts; /* but for identity */
	struct worker_facts worker_facts;
	struct sources sources;
	uid_t uid; /* of unprivileged roles */
	gid_t gid;
	char empty_dir[300];
	struct listener listeners[PEER_LISTENERS];
	int signals;
	struct loop_io signal_io;
	struct list children; /* struct child */
	struct list pending;  /* struct pending, oldest first */
	size_t pending_n;
	struct list sessions; /* struct session that serve somebody */
	size_t sessions_n;
	struct list lanes;            /* struct lane, oldest first */
	struct loop_timer lanes_room; /* one has ended */
	struct list calls;            /* struct call */
	struct loop_timer calls_room; /* one has ended or is answered */
	size_t calls_n;
	struct list channels; /* struct channel */
	size_t channels_n;
	uint64_t last_channel;
	struct list jobs; /* struct job */
	size_t jobs_n;
	uint64_t last_job;
	uint64_t last_call;
	struct child *spare_session;
	struct child *worker_zygote; /* zygote.h; NULL: there is none */
	struct child *job_zygote;
	bool job_zygote_failed; /* it could not be started: tried again for the next caller */
	struct child *idle_reader[IDLE_READERS];
	struct loop_timer refill;
	uint64_t refill_from; /* no earlier; CLOCK_MONOTONIC, ns */
	uint64_t refill_by;   /* no later, even while requests run; 0: nothing was missing yet */
	struct loop_timer reader_timeout;
	struct child *keeper; /* NULL: there is none */
	struct child *watcher;
	struct loop_timer watcher_restart;
	bool watching; /* the watcher said its epoch */
	bool announced;
	struct stuck stuck[STUCK_MAX];
	int64_t clock_offset_ns; /* CLOCK_REALTIME minus CLOCK_BOOTTIME when last looked at */
	int ready_socket;
	struct loop_io ready_io;
	struct loop_timer ready_timer;
	unsigned int ready_tries;
	int wake; /* owned; a timer that says when the clock was set */
	struct loop_io wake_io;
	uint64_t slept_ns;     /* so long the guest has slept since its boot */
	struct chore saver;    /* writes the history */
	struct chore restorer; /* mounts a persistent share */
	uint64_t restore_number;
	bool restore_failed;
	unsigned int restores; /* rounds with a failure */
	struct loop_timer restore_again;
	struct freeze freeze;
	bool stopping;
	struct loop_timer stop_timer;
};
