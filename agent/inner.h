/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the agent's programs say to each other: one SOCK_SEQPACKET pair between the broker and each
 * child, one fixed-layout message a packet, descriptors by SCM_RIGHTS. All programs are of one
 * build and installed together, so there is no version in here.
 *
 * The broker believes nothing that a child says beyond the fields it checks: a method row below
 * METHOD_COUNT, a request id of that child's own, lengths and descriptors that it only passes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/row.h"
#include "proto/limits.h"

#define INNER_MAGIC   0x4e545350u
#define INNER_FDS_MAX 16
#define INNER_FD      3 /* where a child finds its end of the pair */

enum inner_kind {
	/* broker -> session */
	INNER_START = 1, /* struct session_facts; fds: session_fd, in order of the bits in arg */
	INNER_ANNOUNCE, /* struct session_facts; fd: a connection on which to say Ready and leave */
	INNER_ENDED,    /* id; arg: enum ended_why: its worker wrote no whole answer */
	INNER_TOLD,     /* id; arg: errno, or 0 with what was asked for in the body */
	INNER_EVENTS,   /* fd: the pair's end whose other end the watcher has; arg: 0 or errno */
	INNER_LANE_ENDED, /* id: the lane; arg: enum ended_why, 0: its process left between two
			   * requests; aux: the request that it was ended for, 0: for none */
	INNER_STOP,       /* say goodbye and leave */
	/* session -> broker */
	INNER_CALL,   /* id, method, deadline, arg: the caller's max_frame, aux: the id that the
		       * answer bears; fds: reply, body unless empty */
	INNER_CANCEL, /* id; of a lane its number, and aux: the request */
	INNER_LANE,   /* id: its number; method: of the first request; fd: the far end (lane.h) */
	INNER_SLOW,   /* id: a lane; aux: number of its request, method, deadline: the broker keeps
		       * the time from here on; aux 0: it is answered */
	INNER_ASK,    /* id, method: a row of BROKER; arg: number of the channel, job or lease; aux,
		       * body and fd: as the row needs */
	INNER_WANT_EVENTS,
	/* broker -> worker; struct worker_facts */
	INNER_NEW,     /* no facts; fd: the pair's end for a process of its own, which is forked */
	INNER_RUN,     /* id: that of the answer; method, deadline, arg: max_frame, aux: number of
			* the call, which INNER_DONE repeats; fds: reply, verdicts, quarantine, body
			* unless empty */
	INNER_SETTLE,  /* the same; aux: enum ended_why */
	INNER_SERVE,   /* method: whose rights it keeps; fds: a lane, verdicts, quarantine */
	INNER_YIELD,   /* no facts; leave the lane once nothing runs */
	INNER_VSH,     /* deadline, aux: as in INNER_RUN; fds: a client of vsh, of whom nothing was
			* read; quarantine */
	INNER_SAVE,    /* fd: the load history, to be written to the state folder */
	INNER_RESTORE, /* arg: number of the persistent share to be mounted again */
	INNER_THAW,    /* arg: why, as the protocol's ThawReason; fd: as of INNER_RESTORE */
	INNER_HOOKS,   /* arg: enum hook_event; deadline; fd: where struct hook_result goes */
	INNER_GUARD, /* no facts; fd: where those come from whose file systems it is to thaw, should
		      * the broker die: the same kind, up to 16 descriptors each, arg 1: the last;
		      * answered there once */
	INNER_KMOD,  /* no facts; fd: a connection to postern-kmod; arg: 0 or errno */
	INNER_CHANNEL, /* no facts; id: number; fd: the channel's socket, as the caller opened it;
			* none: the token was not used in time */
	INNER_CUT,     /* no facts; id: number of an open channel that must be closed */
	INNER_GRANT,   /* struct grant in place of the facts, its number 0: there is none; id: as of
			* INNER_WANT_GRANT */
	INNER_LEFT,    /* no facts; the connection that started the job is gone */
	INNER_FORGET,  /* no facts; the job has ended, and nobody will attach to it; what is guarded
			* is  thawed */
	/* worker -> broker */
	INNER_DONE,  /* all of the answer is written, or the lane is left; arg, of INNER_RESTORE:
		      * enum restored, of a     row that GRANTS: 1 when it serves a channel; aux: as
		      * in     INNER_RUN */
	INNER_TOUCH, /* fd: memory that says what the process touches (touch.h); none: it is over */
	INNER_CHANGING, /* what a row that changes something does begins now */
	INNER_HUNG,     /* arg: device number; aux: pid of a child of the reader that hangs on it */
	INNER_FREEZING, /* file systems may be frozen from here on; arg: ms until they thaw, 0:
			 * while the request runs */
	INNER_THAWED,   /* none is frozen any more */
	INNER_GENERATION, /* arg: the guest's from now on */
	INNER_WANT_HOOKS, /* arg, deadline, fd: as of INNER_HOOKS */
	INNER_WANT_GUARD, /* fd: as of INNER_GUARD */
	INNER_WANT_KMOD,  /* answered by INNER_KMOD */
	INNER_NOTIFY,     /* arg: topic; fd: memfd with the packed notification for the watcher */
	INNER_GRANTED,    /* arg: which of its grants the answer has that it is about to give, a bit
			   * each;   aux: as in INNER_RUN */
	INNER_WANT_GRANT, /* id: its own, for what answers it: INNER_GRANT */
	INNER_COUNT,  /* id: number of a channel; arg: bytes from the caller, aux: bytes to it */
	INNER_CLOSED, /* the same, and the channel is closed */
	INNER_HERE,   /* arg: its pid; fd: its pidfd: of a process that somebody else started */
	INNER_JOB,    /* struct job_facts: of its start, and once more of its end */
	/* broker -> watcher */
	INNER_WATCH,      /* struct watch_facts; fds: watch_fd, in order of the bits in arg */
	INNER_SUBSCRIBER, /* struct subscriber_facts; fd: its pair's end */
	INNER_EMIT,       /* arg: topic; fd: memfd with the packed notification */
	/* watcher -> broker */
	INNER_WATCHING, /* arg: the event epoch */
	INNER_SAVE_DUE, /* the load history should be written to disk */
};

/* What became of a persistent share. */
enum restored {
	RESTORE_LOST,   /* the process said nothing */
	RESTORE_END,    /* there are not so many */
	RESTORE_DONE,   /* it is mounted, or not ours to mount */
	RESTORE_FAILED, /* recorded as FAILED, with the reason */
};

struct inner_message {
	uint32_t magic;
	uint16_t kind;
	uint16_t method;   /* row */
	uint64_t id;       /* the session's number of a request, never used twice */
	uint64_t deadline; /* CLOCK_MONOTONIC, ns */
	uint64_t arg;
	uint64_t aux;
	uint32_t body_len; /* bytes that follow this structure in the packet */
	uint32_t job;      /* INNER_CALL of a row of JOB: the job's number */
};

enum ended_why {
	ENDED_CRASHED = 1, /* it left without an answer */
	ENDED_DEADLINE,    /* it was killed at the deadline */
	ENDED_CANCELLED,   /* it was killed since the caller asked for it */
	ENDED_DENIED,      /* the policy says no (a session of ours never asks then) */
	ENDED_BUSY,        /* too many workers */
	ENDED_NO_WORKER,   /* it could not be started */
	ENDED_HUNG,        /* too many processes hang already */
	ENDED_NO_JOB,      /* the caller has no job of this number */
	ENDED_JOB_OVER,    /* it has ended, and its process is gone */
	ENDED_FROZEN,      /* file systems are frozen, and it may want to write to them */
	/* Or-ed in: */
	ENDED_STUCK = 0x100,    /* it was killed and the kernel does not let go of it */
	ENDED_NOT_DONE = 0x200, /* it was killed before it began to change anything */
};

/* What the broker gives a session to read: each at offset 0, with pread(). */
enum session_fd {
	SESSION_FD_SOCKET,
	SESSION_FD_VERDICTS,
	SESSION_FD_OS_RELEASE,
	SESSION_FD_LOADAVG,
	SESSION_FD_STAT,
	SESSION_FD_MEMINFO,
	SESSION_FD_PSI_CPU,
	SESSION_FD_PSI_MEMORY,
	SESSION_FD_PSI_IO,
	SESSION_FD_DISKSTATS,
	SESSION_FD_UEVENTS, /* /sys/kernel/uevent_seqnum */
	SESSION_FD_HISTORY, /* agent/history.h */
	SESSION_FD_RATES,   /* agent/history.h */
	SESSION_FD_COUNT,
};

enum watch_fd {
	WATCH_FD_MOUNTINFO, /* of process 1 */
	WATCH_FD_LOADAVG,
	WATCH_FD_STAT,
	WATCH_FD_MEMINFO,
	WATCH_FD_DISKSTATS,
	WATCH_FD_NETDEV,
	WATCH_FD_PSI_CPU,
	WATCH_FD_PSI_MEMORY,
	WATCH_FD_PSI_IO,
	WATCH_FD_MEMORY_SOME, /* /proc/pressure/memory, to be told of pressure */
	WATCH_FD_MEMORY_FULL, /* the same once more: each is for one threshold */
	WATCH_FD_HISTORY,     /* read and write */
	WATCH_FD_RATES,       /* read and write */
	WATCH_FD_PROPERTIES,  /* read and write */
	WATCH_FD_COUNT,
};

struct session_facts {
	char identity[64];
	char agent_version[32];
	char init[16]; /* what process 1 is */
	uint8_t boot_id[16];
	uint64_t generation;
	uint64_t epoch;
	uint64_t started_ns; /* of the agent, CLOCK_BOOTTIME */
	uint32_t max_frame;  /* highest the agent accepts */
};

#define TOKEN_SIZE 16
#define GRANTS_MAX 2 /* channels that one answer can grant */

/* The right to one connection. */
struct grant {
	uint64_t number; /* of the channel; 0: none */
	uint8_t token[TOKEN_SIZE];
};

/* What is frozen through the agent. */
struct freeze_facts {
	uint64_t lease;    /* 0: nothing */
	uint64_t until_ns; /* CLOCK_MONOTONIC; 0: it is being frozen, or thawed */
	char holder[64];   /* the identity */
};

struct worker_facts {
	char run_dir[256];
	char state_dir[256];
	char hooks_dir[256];
	char sysctl_allow[512]; /* patterns with spaces between */
	char files_roots[1024]; /* settings of these names */
	char disks_folders[1024];
	char disks_repository[256];
	struct grant grants[GRANTS_MAX]; /* for a row that GRANTS, to be used or not */
	uint64_t job;                    /* for a row of NEW_JOB: its number */
	uint64_t renew_machine_id;       /* 1: in a guest that was restored */
};

enum job_state { JOB_RUNNING, JOB_EXITED, JOB_SIGNALLED, JOB_LOST };

/* A program that runs for a caller, as its process knows it and the broker keeps it. */
struct job_facts {
	uint64_t number;
	int32_t pid;
	uint32_t state; /* enum job_state */
	uint32_t exit_code;
	uint32_t signal;
	uint8_t core_dumped;
	uint8_t deadline_exceeded;
	uint8_t terminal;
	uint8_t on_disconnect; /* of the protocol */
	uint8_t keeps_spool;   /* the process stays when the program has ended, for those who attach
				*/
	uint8_t attached;      /* the broker's: channels that are open */
	uint16_t argv_len;
	uint64_t started_ns, ended_ns; /* CLOCK_REALTIME */
	uint64_t wall_ns;
	uint64_t output_bytes, errors_bytes;
	uint64_t user_us, system_us, max_rss_bytes, minor_faults, major_faults;
	uint64_t blocks_in, blocks_out, voluntary_switches, involuntary_switches;
	char user[64];
	char argv[256]; /* each with its NUL */
};

/* A channel as the broker tells of it. */
struct channel_facts {
	uint64_t number;
	uint64_t job; /* 0: none */
	uint64_t age_ms;
	uint64_t from_caller, to_caller; /* bytes */
	uint16_t method;
	uint8_t open;
	uint8_t reserved[5];
};

/* The largest of the answers to INNER_ASK. */
#define TOLD_MAX (JOBS_MAX * sizeof(struct job_facts))

struct watch_facts {
	char run_dir[256];
	uint8_t boot_id[16];
	uint32_t sample_interval_s;
	uint32_t save_interval_s;
};

/* Whom a session serves, and what it may ask the watcher for. */
struct subscriber_facts {
	char identity[24];
	uint32_t uid;                  /* of a program of this guest */
	uint32_t guest;                /* 1: it is one */
	uint64_t topics;               /* mask of enum topic */
	uint8_t methods[METHOD_COUNT]; /* 1: allowed */
};

#define FOOTPRINT_PROCESSES 96

/* The agent's own processes, as only the broker sees them. */
struct footprint {
	uint32_t processes;
	uint32_t stuck;
	uint32_t connections;
	uint32_t calls;
	uint64_t log_dropped;
	uint64_t generation; /* as it is now */
	struct {
		int32_t pid;
		uint8_t role; /* enum role */
		uint8_t spare;
		uint16_t descriptors;
		uint64_t rss_bytes;
		uint64_t pss_bytes;
	} process[FOOTPRINT_PROCESSES];
	struct {
		int32_t pid;
		uint16_t method;
		uint64_t age_ms;
		uint64_t device;
	} stuck_process[STUCK_MAX];
};

/* Before each part of an answer in a pipe or a lane: so many bytes follow, a FromAgent frame. */
struct reply_head {
	uint32_t len;
	uint16_t last;    /* 1: the answer's last part */
	uint16_t refused; /* enum ended_why, of a lane: there is no answer but this; 0: there is */
};

/* What stands in a device's place while a file system of a type (its number in
 * kmod-helpers/types.c) is being made and has none yet. */
#define DEVICE_OF_NEW(type) (UINT64_C(1) << 63 | (uint64_t)(type))

/* What nobody should touch, shared by all readers and workers (read only to them): the devices that
 * somebody hangs on, and what is frozen. */
#define QUARANTINE_MAX STUCK_MAX

struct quarantine {
	uint32_t n;
	uint32_t many; /* 1: so many hang that only what may help them is begun */
	struct freeze_facts freeze;
	struct {
		uint64_t device;
		uint64_t writes_only; /* 1: who hangs on it wanted to write, as to a frozen disk */
	} place[QUARANTINE_MAX];
};

/*
 * Sends one message with body (message->body_len bytes) and descriptors (borrowed). 0, -EAGAIN when
 * a non-blocking socket is full, or -errno of sendmsg(). Never raises SIGPIPE.
 */
int inner_send(int socket, const struct inner_message *message, const void *body, const int *fds,
	size_t n_fds);

/*
 * Receives one message. body takes at most size bytes. Descriptors arrive in fds[0..*n_fds), close
 * on exec, owned by the caller; unused slots are -EBADF. 1, or 0 at the end of the stream, -EAGAIN,
 * -EBADMSG for a malformed packet (its descriptors are closed), -errno of recvmsg().
 */
int inner_receive(int socket, struct inner_message *ret_message, void *body, size_t size,
	int fds[INNER_FDS_MAX], size_t *ret_n_fds);

/* What a program does with a message: 0 or -errno. It takes from fds what it keeps (take_fd()). */
typedef int (*inner_take_fn)(
	const struct inner_message *message, void *body, int fds[INNER_FDS_MAX], size_t n_fds);

/* Receives one message of a non-blocking socket, if there is one, has it taken, and closes the
 * descriptors that are left. 1 to go on, 0 at the end of the stream, or -errno of either. */
int inner_take(int socket, void *body, size_t size, inner_take_fn take);

/* Closes every descriptor of the array and sets it to -EBADF. */
void inner_close_fds(int fds[INNER_FDS_MAX]);
