/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which file system a process touches next, in memory that it shares with the broker: what hangs in
 * the kernel cannot be asked any more. To say it costs one store, and wakes nobody.
 */
#pragma once

#include <stdint.h>

enum touch {
	TOUCH_LOOK,  /* what even a frozen file system answers */
	TOUCH_WRITE, /* what waits for one that is frozen */
	TOUCH_START, /* by a program that is being started, maybe elsewhere than it says */
};

struct touched {
	uint64_t device; /* number; 0: none */
	uint64_t how;    /* enum touch */
};

/* Makes the memory, and tells the broker at that socket of it. The caller's until touch_close(), or
 * its end; NULL: there is none, so should the process hang, nobody will know where. */
struct touched *touch_open(int broker);

/* touch may be NULL. Takes effect at once. */
void touch_set(struct touched *touch, uint64_t device, enum touch how);

/* The broker forgets it. */
void touch_close(struct touched *touch, int broker);

/* For the broker: what the memory behind the descriptor (borrowed; -EBADF: there is none) says. Its
 * other side may have made it any size. */
struct touched touch_read(int fd);
