/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The generation: 64 random bits that say "the same running of the same machine". New at each boot,
 * kept when only the agent starts again, and new when the clocks jumped against each other by more
 * than 5 s, as they do in a restored snapshot.
 */
#pragma once

#include "agent/broker/broker.h"

/* Fills in boot id and generation. 0, or -errno with a line in the log. */
int generation_init(struct broker *broker);

/* Another one, as system.restored has drawn it; 0 is none. */
void generation_set(struct broker *broker, uint64_t generation);

/* Looks at the clocks; called where a generation is about to be told. */
void generation_check(struct broker *broker);
