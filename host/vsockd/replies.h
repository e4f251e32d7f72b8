/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Resets to be sent for ports that have no flow (any more). The queue is bounded, and cannot
 * overflow: the guest's packets wait while it holds REPLIES_PAUSE, and every flow that the guest
 * knows can end only once, adding one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define REPLIES_PAUSE 256U

struct reply {
	uint32_t guest_port, host_port;
	uint16_t type; /* as in the packet that is answered */
};

struct replies {
	struct reply *entries;
	unsigned size, head, count;
};

/* Room for REPLIES_PAUSE and one for each of max_flows. 0 or -ENOMEM. */
int replies_init(struct replies *replies, unsigned max_flows);

void replies_done(struct replies *replies);

void replies_push(struct replies *replies, uint32_t guest_port, uint32_t host_port, uint16_t type);

/* Takes the oldest. False when there is none. */
bool replies_pop(struct replies *replies, struct reply *ret_reply);

void replies_clear(struct replies *replies);
