/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the guest's start to its agent's answer: at the first boot, and whenever the guest boots
 * again. A guest that has answered once is kept, however long its next boot takes.
 */
#pragma once

#include "host/supervisor/machine.h"

/* How long the agent has, from now on. */
void boot_set_deadline(struct machine *machine);

/* The VMM runs: the agent is waited for. */
void boot_begin(struct machine *machine);

/* The guest was reset. */
void boot_again(struct machine *machine);

/* The agent answered a hello; ctx is the machine (see ready_open()). */
void boot_answered(void *ctx, const struct postern_peer *peer);
