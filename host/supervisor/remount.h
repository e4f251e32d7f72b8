/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that has booted again has lost its half of the shares that are plugged: its agent is
 * asked to mount each at its target, over one connection. A persistent share may be mounted
 * already. What cannot be mounted is a problem of the share, which status shows.
 */
#pragma once

#include <stddef.h>

#include "host/common/link.h"

struct machine;

struct remount {
	struct machine *machine;
	struct link link; /* closed: nothing is under way */
	bool asked;
	size_t open; /* calls without an answer */
};

/* Begins anew; nothing happens where no share has a target. */
void remount_start(struct remount *remount, struct machine *machine);

/* Leaves it at that. Harmless when nothing is under way. */
void remount_stop(struct remount *remount);
