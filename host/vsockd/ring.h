/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One split virtqueue, the device's half (virtio 1.2, 2.7). What the driver writes is read once and
 * bounded; a driver that breaks the rules breaks its ring, which then rests until it is set up
 * anew, and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/vsockd/memory.h"
#include "proto/loop.h"

#define RING_NUM_MAX 32768U

#define FEATURE_INDIRECT_DESC     28
#define FEATURE_EVENT_IDX         29
#define FEATURE_PROTOCOL_FEATURES 30
#define FEATURE_VERSION_1         32
#define FEATURE(bit)              (UINT64_C(1) << (bit))

struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

#define DESC_NEXT     1U
#define DESC_WRITE    2U
#define DESC_INDIRECT 4U

struct ring_used_elem {
	uint32_t id;
	uint32_t len;
};

/* Where the three parts are, in the front-end's addresses. */
struct ring_addr {
	uint64_t desc, used, avail;
};

/* What tells one driver's use of a ring from the next. */
struct ring_trace {
	bool valid;
	uint64_t features;
	struct ring_addr addr;
	uint32_t num;
	uint16_t base;
};

struct ring {
	/* as the front-end set it up */
	const char *name;
	uint32_t num;
	uint16_t base; /* where to start in the available ring */
	bool have_addr, enabled;
	struct ring_addr addr;
	int kick, call, err; /* owned, or -EBADF */
	struct loop_io kick_io;

	/* while it runs */
	bool running, broken, event_idx, indirect;
	const struct ring_desc *desc;
	uint16_t *avail;     /* flags, idx, ring[num], used_event */
	uint16_t *used;      /* flags, idx, then elements, then avail_event */
	uint16_t last_avail; /* next entry to take */
	uint16_t used_next;  /* next element to fill */
	uint16_t used_shown; /* as far as the driver may look */
	uint16_t used_told;  /* used_shown at the last decision about an interrupt */

	struct ring_trace trace; /* as it was when it last stopped */
};

void ring_init(struct ring *ring, const char *name);

/* Stops it and closes its descriptors: as after ring_init(). */
void ring_reset(struct ring *ring);

/* Resolves the addresses and runs from ring->base; not on a broken ring. -EINVAL when they are not
 * usable. */
int ring_start(struct ring *ring, struct memory *memory, uint64_t features);

/* Shows what is done to the driver, and stops; ring->base is where to go on. Harmless on a ring
 * that does not run. */
void ring_stop(struct ring *ring, uint64_t features);

/* True when the driver that runs now is not the one that ran before the last stop. */
bool ring_changed(const struct ring *ring, uint64_t features);

/* Marks the ring as unusable until it is set up anew, and logs why, once. Returns -EBADMSG. */
int ring_break(struct ring *ring, const char *why);

/* Entries to take; -EBADMSG (and a broken ring) when the driver's index makes no sense. */
int ring_available(struct ring *ring);

/* Takes the next entry: a descriptor's index, < num. Only after ring_available() > 0. */
int ring_take(struct ring *ring);

/* Asks for a kick at the next new entry. True when there is one already (then do not wait). */
bool ring_arm(struct ring *ring);

/* Gives a chain back with len bytes written to it; not shown to the driver yet. */
void ring_fill(struct ring *ring, uint16_t head, uint32_t len);

/* Shows all given back chains to the driver. */
void ring_show(struct ring *ring);

/* Interrupts the guest if it wants to hear of what was shown since the last time. True if so. */
bool ring_notify(struct ring *ring);
