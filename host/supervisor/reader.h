/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Those who have the guest's console before them, each a stream of its own. A reader has no buffer
 * but its socket's: it stands somewhere in the console's ring. One that the guest has overtaken
 * goes on with what is new, and is told in between how much it has missed; nobody waits for it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/supervisor/console.h"

#define READER_NOTE_MAX 96

struct console_reader {
	struct console *console;
	struct console_reader *next;
	int fd;
	struct loop_io io;
	uint64_t at;      /* in console->total: what is sent next */
	bool input_ended; /* it has said its last; it goes on reading */
	char note[READER_NOTE_MAX];
	size_t note_at, note_len;
};

/*
 * Takes a stream (fd, non-blocking, owned also on failure) as a reader. With scrollback it gets
 * first what is in the ring, from the beginning of a line on. 0; -EUSERS when there are
 * CONSOLE_READERS, or -errno.
 */
int reader_add(struct console *console, int fd, bool scrollback);

/* Gives all of them what is new, and watches them for what they may do now. */
void readers_go_on(struct console *console);

/* Gives them at most timeout_ms to take what they have not had, then closes all. */
void readers_close(struct console *console, int timeout_ms);
