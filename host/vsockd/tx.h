/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the guest: takes packets off the transmit queue and acts on them. Payload goes from guest
 * memory straight into the host's socket; consecutive packets of one flow go in one sendmsg().
 *
 * Used buffers are shown to the guest late (when they hold a quarter of the ring, or after ten
 * milliseconds): it needs them for nothing but to free its memory, and each interrupt for them
 * costs it as much as a packet.
 */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#include "host/vsockd/chain.h"
#include "proto/loop.h"

struct device;
struct flow;

/* Pieces that are gathered before they are sent; one chain more fits always. */
#define TX_PIECES 256U

struct tx {
	bool kicked; /* the ring may have entries */
	struct loop_timer show_timer;
	unsigned hidden; /* descriptors of the ring that are used and not shown */

	/* payload gathered for one flow */
	struct flow *flow;
	size_t bytes;
	unsigned count;
	struct iovec iov[TX_PIECES + CHAIN_MAX];
};

void tx_init(struct tx *tx);

/* True when tx_run() would do something. */
bool tx_pending(const struct device *device);

/* Takes packets until the ring is empty, replies have no more room, or a good share was done. */
void tx_run(struct device *device);

/* Shows all used buffers to the guest. */
void tx_show(struct device *device);

/* A flow goes away: drops what was gathered for it. */
void tx_forget(struct device *device, const struct flow *flow);
