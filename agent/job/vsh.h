/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of vsh in the place of a caller's channels: its frames on one side, the program's ports
 * on the other.
 *
 *   client's socket --> frames --> pair --> stdio port --> program
 *                   <-- frames <-- pair <-- ports      <--
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/methods/call.h"
#include "exec.pb-c.h"
#include "proto/arena.h"
#include "proto/buffer.h"
#include "proto/loop.h"
#include "proto/vsh.h"
#include "vsh.pb-c.h"

struct job_process;

enum vsh_state {
	VSH_ASKED, /* its request has not come */
	VSH_RUNS,
	VSH_OVER, /* our last word is on its way */
};

/* What the program writes. */
struct vsh_stream {
	struct vsh *vsh;
	Postern__Vsh__StdioStream name;
	int fd; /* owned; our end of a port; -EBADF: there is none, or nobody has the other */
	struct loop_io io;
	bool ended;
	uint64_t count; /* bytes that came */
};

struct vsh {
	struct job_process *job;
	int socket; /* owned; -EBADF: there is no client, or none any more */
	struct loop_io io;
	struct loop_timer timer; /* for the request; for a terminal's rest; for the client's end */
	enum vsh_state state;
	bool late; /* the program has ended, and its terminal's rest had its time */
	struct vsh_reader reader;
	struct arena arena;       /* of a message */
	ProtobufCBinaryData data; /* in there: for the program, and not taken yet */
	struct buffer out;
	struct vsh_stream output, errors; /* output's end is also where the program reads from */
};

/* No client. */
void vsh_init(struct vsh *vsh, struct job_process *job);

/* A client that is about to ask, whose socket is owned from here on, until the deadline
 * (CLOCK_MONOTONIC, ns). It ends the job that it starts. 0 or -errno. */
int vsh_open(struct vsh *vsh, int socket, uint64_t deadline);

static inline bool vsh_is_open(const struct vsh *vsh)
{
	return vsh->socket >= 0;
}

/* The program has ended: tells so when all of its output was sent. */
void vsh_finish(struct vsh *vsh);

/* Closes the connection at once, if there is one, and with it what it is to the program. */
void vsh_leave(struct vsh *vsh);

/* Of a stream's io: something is to be moved. */
void vsh_on_stream(struct loop_io *io, uint32_t events);

/* ---- vsh_start.c ---- */

/* Checks the client's request, starts the program, and gives up the rights that takes: job->started
 * says whether it runs, else *ret_why (the job's arena) why not. 0; or -errno when this process had
 * better end. Blocks as job_start() does. */
int vsh_start(struct vsh *vsh, const uint8_t *body, size_t len, const char **ret_why);

/* ---- vsh_request.c ---- */

/* exec.start's request for what a client wants; in the arena, of which it borrows, too. NULL
 * through call_fail(). */
Postern__V1__ExecStartRequest *vsh_request(
	struct call *call, const Postern__Vsh__SetupConnectionRequest *asked);
