/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a person, or a script, sits before a program of a guest: our standard streams, the terminal
 * with its keys and its size, and the signals that are meant for the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/cli/flow.h"
#include "proto/client/client.h"

#define SEAT_LEFT 255 /* exit code of one who left */

struct seat {
	bool raw; /* the terminal is: its keys are the program's, but for ~. */
	struct escape escape;
	int signals, sizes; /* owned; readable when there is one; -EBADF: none */
	unsigned int interrupts;
	bool left;   /* by ~., or by too many interrupts */
	bool unread; /* nobody reads our output any more */
	int error;   /* errno for which it is lost, other than a reader that has left; 0: none */
};

/* What a terminal of the guest is to be like: ours, or 24 by 80. */
void seat_size(uint16_t *ret_rows, uint16_t *ret_columns);

/* Takes the seat; the terminal becomes raw where the program has one and we do. What would end us
 * is the program's then: signals are blocked from here on. 0 or -errno; seat_leave() also after
 * that. */
int seat_take(struct seat *seat, bool terminal);

/* Puts the terminal back. */
void seat_leave(struct seat *seat);

/* What poll() should look for: signals, and sizes. */
struct pollfd seat_signals(const struct seat *seat);
struct pollfd seat_sizes(const struct seat *seat);

/* The next signal for the program, 0: none. The third is for us: seat->left. */
uint32_t seat_next_signal(struct seat *seat);

/* The terminal's new size; false where it does not know. */
bool seat_new_size(struct seat *seat, uint16_t *ret_rows, uint16_t *ret_columns);

/* Reads what is typed, where poll() has found it readable: the keys that are meant for us are taken
 * out. The terminal's end is the end of what is typed. */
void seat_read(struct seat *seat, struct flow *in, const struct pollfd *source);

/* Writes to a standard stream, where poll() has found it writable. True the first time that nobody
 * reads any more: the program should be told as in a pipe. From then on all is dropped. */
bool seat_write(struct seat *seat, struct flow *out, const struct pollfd *target);

/* At the end: output that was lost is a failure, unless *error has another one already. */
void seat_check(const struct seat *seat, struct postern_error *error);
