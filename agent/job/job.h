/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * postern-job: starts one program for a caller and looks after it: its input and output, its time,
 * its end. The bytes go between the program's pipes, or its terminal, and the caller's own sockets;
 * no other process of the agent touches them.
 *
 *   caller's socket --> input --> program --> output --> caller's socket
 *      (port)                                  |  ^          (port)
 *                                              v  |
 *                                             spool
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/inner.h"
#include "agent/job/program.h"
#include "agent/job/spec.h"
#include "agent/job/spool.h"
#include "agent/job/vsh.h"
#include "agent/methods/call.h"
#include "exec.pb-c.h"
#include "proto/loop.h"

#define PIECE_SIZE (64 << 10)

struct job_process;

/* A channel, as far as it has come. */
struct port {
	struct job_process *job;
	uint64_t number; /* 0: none was granted */
	int socket;      /* owned; -EBADF: its token was not used yet */
	struct loop_io io;
	bool eof;    /* all that the caller sent was read */
	bool hung;   /* the caller sends no more */
	bool shut;   /* nor do we */
	bool broken; /* the caller is gone */
	uint64_t from_caller, to_caller;
	uint64_t told_ns;        /* when the broker was told of these; CLOCK_MONOTONIC */
	struct loop_timer timer; /* the program has ended: for the caller to close it */
};

/* Bytes on their way. */
struct piece {
	size_t at, end;
	uint8_t bytes[PIECE_SIZE];
};

/* What the program writes. */
struct output {
	struct job_process *job;
	struct port *port;
	int fd; /* owned; a pipe's end or the terminal's master; -EBADF: it has ended */
	struct loop_io io;
	struct piece piece;
	struct spool spool;
	bool only_spool;      /* it leads there, until somebody attaches */
	bool replaying;       /* a caller who attached is sent the spool first */
	uint64_t replayed_to; /* byte of the stream that it gets next */
};

/* What it reads. */
struct input {
	struct job_process *job;
	struct port *port;
	int fd; /* owned; a pipe's end, or the master again; -EBADF: closed */
	struct loop_io io;
	struct piece piece;
	uint8_t last; /* byte that a terminal got; 0: none yet */
};

struct job_process {
	struct loop loop;
	int broker; /* descriptor 3 */
	struct loop_io broker_io;
	struct arena arena;
	struct buffer out;
	struct verdicts verdicts;
	struct worker_facts facts; /* of the request at hand */
	int reply;                 /* owned; of the request at hand */
	int quarantine; /* owned; struct quarantine, of the request that starts the program */
	uint64_t call;  /* the broker's number of it */
	uint64_t used;  /* grants that its handler used, a bit each */

	struct job_facts job;
	bool started;
	bool ended;
	bool forgotten; /* nobody will attach any more */
	bool left;      /* the connection that started it is gone */
	int pidfd;      /* owned */
	struct loop_io pid_io;
	struct loop_timer deadline;
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	int master;          /* owned; the terminal; -EBADF: none */
	bool has_cgroup;     /* the program has a control group of its own */
	int cgroup_kill;     /* owned; cgroup.kill of that; -EBADF: none, or an old kernel */
	Postern__V1__Disconnect on_disconnect;
	struct port stdio, errors_port;
	struct input input;
	struct output output, errors;
	struct vsh vsh; /* in the place of the caller's channels */
};

/* ---- start.c ---- */

/* Starts the program that the spec was made of the request for, with all rights in effect from here
 * on, and looks after it: its ports are granted. 0; or -errno, through call_fail(), with what could
 * not be done. Blocks as program_start() does. */
int job_start(struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec,
	enum program_step *ret_step);

/* ---- port.c ---- */

/* Takes the next of the answer's grants for the port; false when there is none left. The token goes
 * into the answer. */
bool port_grant(struct job_process *job, struct port *port, struct grant *ret_grant);

/* INNER_CHANNEL: its socket (owned), or -EBADF: nobody came. */
void port_open(struct port *port, int socket);

/* Its caller is in this process: *ret_end is the caller's end of it, non-blocking, which the caller
 * owns. 0 or -errno. */
int port_pair(struct port *port, int *ret_end);

/* Nothing more is sent there. */
void port_shut(struct port *port);

/* The program has ended: closes it when the caller has, or soon after the last byte was sent. */
void port_finish(struct port *port);

/* Closes it at once. Where it was the last that the caller had, the program has lost its caller. */
void port_close(struct port *port);

/* The same for one in whose place another comes. */
void port_drop(struct port *port);

/* Watches for what input and outputs want of it, after anything has changed. */
void port_update(struct port *port);

/* Tells the broker of the bytes that went through, now and then. */
void port_count(struct port *port);

static inline bool port_is_open(const struct port *port)
{
	return port->socket >= 0;
}

/* Somebody has it, or may come yet. */
static inline bool port_is_used(const struct port *port)
{
	return port->number != 0;
}

/* ---- input.c ---- */

/* Reads from the port what can be written to the program. */
void input_move(struct input *input);

/* True while bytes of the caller are wanted. */
bool input_wants(const struct input *input);

/* The program reads end of file. */
void input_close(struct input *input);

/* ---- output.c ---- */

/* Moves what the program wrote. */
void output_move(struct output *output);

/* Looks again at whether the program's bytes are wanted. */
void output_update(struct output *output);

/* True while bytes wait for the port. */
bool output_waits(const struct output *output);

/* The program has ended: bytes of its own that were not read yet. */
uint64_t output_left(const struct output *output);

/* The number of bytes that ever came. */
static inline uint64_t output_total(const struct output *output)
{
	return output->spool.total;
}

/* Starts over with a caller who attached, at byte `from` of the stream. */
void output_replay(struct output *output, uint64_t from);

/* Reads no more of the program. */
void output_end(struct output *output);

/* The same, and drops what was kept. */
void output_done(struct output *output);

/* ---- end.c: signals, and the program's end ---- */

/* Sends to the program, or to its process group. 0 or -errno. */
int job_signal(const struct job_process *job, int signal, bool only_leader);

/* This process ends: the program does as when its caller is gone. */
void job_abandon(struct job_process *job);

/* The caller, or the last of its channels, is gone. */
void job_disconnected(struct job_process *job);

/* The program runs: looks after it from here on, for at most deadline_ms (0: as long as it likes).
 * 0 or -errno. */
int job_watch(struct job_process *job, uint64_t deadline_ms);

/* Tells the broker what job->job says, and those who subscribed to the topic. */
void job_tell(struct job_process *job, enum topic topic);

/* Ends this process when there is nothing left to do, after anything has changed. */
void job_check(struct job_process *job);
