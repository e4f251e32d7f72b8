/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's serial port, or its virtio console. What the guest writes is kept in a file in the
 * VM's directory (console.log, hvc0.log), raw as it came, and the last of it in memory. A guest
 * that writes for ever fills no disk: at 1 MiB the file becomes console.log.1 and a new one is
 * begun.
 *
 * Readers (reader.h) get all of it from what memory has on. What they write is the guest's input:
 * each piece whole, in the order in which they come. While the guest takes nothing, nothing is read
 * of anybody.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buffer.h"
#include "proto/loop.h"

#define CONSOLE_FILE     "console.log"
#define CONSOLE_HVC_FILE "hvc0.log"
#define CONSOLE_FILE_MAX (1u << 20)
#define CONSOLE_RING     (64u << 10) /* bytes kept in memory; a power of two */
#define CONSOLE_TAIL     4096        /* looked through for the last lines */
#define CONSOLE_LINES    10          /* shown with a failure */
#define CONSOLE_PIECE    4096        /* of a reader's input, bytes */
#define CONSOLE_READERS  16

struct console_reader;

struct console {
	struct loop *loop;
	int dir_fd; /* borrowed */
	const char *name;
	int file;
	uint64_t size;
	int fd; /* to the VMM */
	struct loop_io io;
	uint8_t ring[CONSOLE_RING];
	uint64_t total; /* bytes that the guest has written; those since total - CONSOLE_RING are
			   in the ring */
	struct buffer input; /* a piece that the VMM has not taken yet */
	struct console_reader *readers;
	size_t n_readers;
};

/* Not open, so that it can be closed. */
void console_init(struct console *console);

/* Begins the file (a static name) anew and reads fd (owned, also on failure). 0 or -errno. */
int console_open(struct console *console, struct loop *loop, int dir_fd, const char *name, int fd);

/* Reads what is left, gives readers a moment to take it, then closes all. */
void console_close(struct console *console);

/* The last lines as an array of escaped strings, at most `most`. A new reference. */
json_t *console_last_lines(const struct console *console, size_t most);

/* Copies out of the ring what there is of total from `at` on, at most len bytes, up to the ring's
 * end: call it again for more. at is in the ring. Returns the bytes, borrowed until the loop goes
 * on. */
const uint8_t *console_look(const struct console *console, uint64_t at, size_t *ret_len);

/* A reader's input, at most CONSOLE_PIECE bytes, while console_takes_input(). 0 or -ENOMEM. */
int console_type(struct console *console, const uint8_t *bytes, size_t len);

bool console_takes_input(const struct console *console);
