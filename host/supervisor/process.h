/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processes of a VM. Each is a child in a process group of its own, gets SIGKILL when the
 * supervisor dies (prctl(2), PR_SET_PDEATHSIG), and has no descriptors but those named. The
 * supervisor is a subreaper, so that what a child leaves behind comes to it as well and is reaped.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "proto/client/client.h"
#include "proto/loop.h"

#define PROCESS_FDS  16
#define PROCESS_TAIL 4096

struct process {
	const char *name; /* borrowed; NULL: not running */
	pid_t pid;
	int pidfd;
	bool killed;    /* by us */
	int log_fd;     /* its standard output and error */
	unsigned lines; /* written to our log */
	struct loop_io log_io;
	char tail[PROCESS_TAIL]; /* the end of what it wrote, escaped */
	size_t tail_len;
	void (*ended)(struct process *process, int status); /* status as waitpid() gives it */
	struct process *next;
};

struct processes {
	struct loop *loop;
	int signal_fd; /* SIGCHLD, SIGTERM, SIGINT */
	struct loop_io io;
	struct process *running;
	void (*asked_to_stop)(void *ctx); /* SIGTERM or SIGINT came */
	void *ctx;
};

/* Becomes subreaper, blocks the signals and watches them. 0 or -errno. */
int processes_init(struct processes *processes, struct loop *loop, void (*asked_to_stop)(void *ctx),
	void *ctx);

struct process_options {
	const char
		*read_only; /* folder that the process sees read-only, mounts below it included */
	const int *stdio;   /* its standard input and output; NULL: /dev/null, and our log */
};

/*
 * Starts argv[0] (a path). fds[i] (borrowed, n at most PROCESS_FDS) is its descriptor 3 + i.
 * options may be NULL. The process structure must stay until `ended` was called. Waits until the
 * new program runs. 0, or -errno with *error.
 */
int process_start(struct processes *processes, struct process *process, const char *name,
	char *const argv[], const int *fds, size_t n, const struct process_options *options,
	void (*ended)(struct process *process, int status), struct postern_error *error);

static inline bool process_running(const struct process *process)
{
	return process->name != NULL;
}

/* Sends a signal to the process and its group; nothing where it does not run. */
void process_signal(struct process *process, int signal);

/* The last whole line that it wrote, escaped; "" without one. Borrowed. */
const char *process_last_line(struct process *process);

/* "exit code 1", "signal 9 (Killed)": into text, at least 64 bytes; returns text. */
const char *process_status_text(int status, char text[64]);

/* Kills what still runs and waits for all children, adopted ones included: at most a second. */
void processes_done(struct processes *processes);
