/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Towards the guest: fills the buffers of the receive queue with resets that are due, and, flow
 * after flow, with control packets and with the host's bytes. One readv() fills several buffers;
 * their headers are written afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "host/vsockd/chain.h"

struct device;

/* Buffers looked up ahead, and filled by one readv() at most. */
#define RX_BATCH 16U

/* Pieces of a buffer that are used; a header in single bytes and four more. */
#define RX_PIECES 48U

struct rx_buffer {
	uint16_t head;
	unsigned count;
	uint32_t room; /* for payload */
	struct iovec iov[RX_PIECES];
};

struct rx {
	bool starved; /* the guest has posted no more buffers; a kick will tell */
	unsigned first, count;
	struct rx_buffer ready[RX_BATCH]; /* circular: taken off the ring, not filled yet */
	struct iovec iov[RX_BATCH * RX_PIECES];
};

/* True when rx_run() would do something. */
bool rx_pending(const struct device *device);

/* Sends until nothing is left to send, buffers run out, or a good share was done. */
void rx_run(struct device *device);

/* Forgets the buffers looked up ahead, so that they are taken again. */
void rx_rewind(struct device *device);
