/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standard input and output as the two ends of a stream. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "host/cli/command.h"
#include "host/cli/escape.h"

/* All zero: both as they are. */
struct pump {
	bool read_only;        /* standard input is not looked at, and has ended for the socket */
	struct escape *escape; /* a person types: ~. leaves; NULL: every byte goes through */
	uint32_t linger_ms;    /* goes on after the end of the input until so long nothing came; 0:
				  until the other side has ended */
	FILE *log;             /* gets what comes, too; NULL: none */
	int log_error;         /* errno that ended the log; 0: none */
	uint64_t sent, received; /* bytes */
};

/*
 * Copies standard input to the socket (non-blocking) and the socket to standard output until both
 * have ended, or the other side is gone. The end of each is passed on, and what comes the other way
 * after it still arrives; neither direction waits for the other. 0, or -errno of either end; -EPIPE
 * where nobody reads our output any more.
 */
int pump_run(struct pump *pump, int socket);

/* The end of a command: pump_run(), then the terminal as it was (terminal.h), and on standard error
 * the words, or with --json the counts. An exit code. */
int pump_stdio(const struct cli *cli, struct pump *pump, int socket, const char *words);
