/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's serial port: kept in console.log in the VM's directory, raw as it came. A guest that
 * writes for ever fills no disk: at 1 MiB the file becomes console.log.1 and a new one is begun.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/loop.h"

#define CONSOLE_FILE     "console.log"
#define CONSOLE_OLD_FILE "console.log.1"
#define CONSOLE_FILE_MAX (1u << 20)
#define CONSOLE_TAIL     4096
#define CONSOLE_LINES    10 /* shown with a failure */

struct console {
	int dir_fd; /* borrowed */
	int file;
	uint64_t size;
	int fd; /* to the VMM */
	struct loop_io io;
	char tail[CONSOLE_TAIL]; /* a ring of the last bytes */
	uint64_t total;
};

/* Begins console.log anew and reads fd (owned, also on failure). 0 or -errno. */
int console_open(struct console *console, struct loop *loop, int dir_fd, int fd);

/* Reads what is left, then closes. */
void console_close(struct console *console);

/* The last lines as an array of escaped strings, at most `most`. A new reference. */
json_t *console_last_lines(const struct console *console, size_t most);
