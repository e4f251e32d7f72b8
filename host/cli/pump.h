/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standard input and output as the two ends of a stream. */
#pragma once

#include <stdint.h>

#include "host/cli/command.h"

struct pump {
	uint64_t sent, received; /* bytes */
};

/*
 * Copies standard input to the socket (non-blocking) and the socket to standard output until both
 * have ended, or the other side is gone. The end of each is passed on, and what comes the other way
 * after it still arrives; neither direction waits for the other. 0, or -errno of either end; -EPIPE
 * where nobody reads our output any more.
 */
int pump_run(struct pump *pump, int socket);

/* The end of a command: pump_run(), then on standard error the words, or with --json the counts. An
 * exit code. */
int pump_stdio(const struct cli *cli, int socket, const char *words);
