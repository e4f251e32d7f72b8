/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of a guest at our standard input and output, from its start or an attach to its end. */
#pragma once

#include <stdbool.h>

#include "host/cli/command.h"

struct job_run {
	bool terminal; /* the program has one: ours is raw meanwhile, if there is one */
	bool detach;   /* tell the job's number, and leave it */
};

/* Words of any bytes as the JSON that the protocol's bytes are. New reference, or NULL. */
json_t *job_bytes(const char *text);

/* What a terminal of the guest is to be like: ours, or 24 by 80. New reference. */
json_t *job_terminal(void);

/*
 * Starts a program with exec.start's parameters (taken over), and runs it at our standard streams:
 * signals that would end us go to it, a terminal's changes of size too. Returns the exit code of
 * the command: the program's own, 128 and the signal that ended it, or one of ours after saying
 * why.
 */
int job_run_start(struct cli *cli, const struct job_run *run, json_t *params);

/* The same for a job that runs already, or has ended and left output, with exec.attach's. */
int job_run_attach(struct cli *cli, const struct job_run *run, json_t *params);
