/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who waits for statistics of one kind: one round of questions answers all. */
#pragma once

#include "host/vmm/vmm.h"

struct stats_wait {
	struct stats_wait *next;
	vmm_stats_fn fn;
	void *ctx;
};

/* Adds a caller. True where it is the first: a round is to be started. One that cannot wait (no
 * memory) is told so at once. */
bool stats_wait(struct stats_wait **list, vmm_stats_fn fn, void *ctx);

/* Tells everybody (error NULL: the values) and empties the list. */
void stats_tell(struct stats_wait **list, const struct postern_error *error, const void *values);

/* Empties the list without a word. */
void stats_forget(struct stats_wait **list);
