/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The whole device: one guest, one thread. It owns everything below it and decides when the rings
 * run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/vsockd/counters.h"
#include "host/vsockd/dial.h"
#include "host/vsockd/flow.h"
#include "host/vsockd/frontend.h"
#include "proto/listener.h"
#include "host/vsockd/memory.h"
#include "host/vsockd/proxy.h"
#include "host/vsockd/replies.h"
#include "host/vsockd/ring.h"
#include "host/vsockd/rx.h"
#include "host/vsockd/tx.h"
#include "proto/loop.h"

struct device_options {
	uint64_t cid;
	const char *uds; /* the hybrid socket's path; borrowed */
	struct ports allow;
	unsigned max_connections;
};

enum { RING_RX = 0, RING_TX = 1, RING_COUNT = 2 };

struct device {
	const struct device_options *options;
	struct loop loop;
	uint64_t features, protocol_features; /* as the front-end acknowledged them */
	struct memory memory;
	struct ring rings[RING_COUNT];
	struct flows flows;
	struct replies replies;
	struct rx rx;
	struct tx tx;
	struct frontend frontend;
	struct listener proxy;
	struct counters counters;
};

/* Prepares a device without a front-end and without a listener; options are borrowed for as long as
 * it lives. 0 or -errno; device_done() is due in either case. */
int device_init(struct device *device, const struct device_options *options);

void device_done(struct device *device);

/* One round: waits for at most timeout_ms (-1: for ever) unless there is work, handles what
 * happened, moves packets both ways. 0 or -errno. */
int device_step(struct device *device, int timeout_ms);

/* Stops the rings so that their set-up or the memory may change. */
void device_halt(struct device *device);

/* Starts the rings if both are set up, and handles what waits in them. A driver that is not the one
 * from before the last stop finds no flows of its predecessor. */
void device_update(struct device *device);

/* Listens to fd (owned from here on, also on failure) for kicks of the ring. 0 or -errno. */
int device_set_kick(struct device *device, struct ring *ring, int fd);

/* Interrupts for all that is shown, whether or not it was done before. */
void device_renotify(struct device *device, struct ring *ring);

/* The front-end is gone: as after device_init(), except listeners, counters, and flows of which
 * only the host has yet to take something. */
void device_reset(struct device *device);
