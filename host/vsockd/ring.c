/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/ring.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/log.h"

#define AVAIL_NO_INTERRUPT 1U

/* Both rings begin with flags and idx, 16 bits each. */
enum { RING_FLAGS = 0, RING_IDX = 1, RING_ENTRIES = 2 };

static uint16_t load16(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store16(uint16_t *p, uint16_t value)
{
	__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
}

static uint16_t *used_event(const struct ring *ring)
{
	return &ring->avail[RING_ENTRIES + ring->num];
}

static uint16_t *avail_event(const struct ring *ring)
{
	return &ring->used[RING_ENTRIES + ring->num * (sizeof(struct ring_used_elem) / 2)];
}

void ring_init(struct ring *ring, const char *name)
{
	*ring = (struct ring){.name = name, .kick = -EBADF, .call = -EBADF, .err = -EBADF};
}

void ring_reset(struct ring *ring)
{
	loop_io_del(&ring->kick_io);
	ring->kick = fd_close(ring->kick);
	ring->call = fd_close(ring->call);
	ring->err = fd_close(ring->err);
	ring_init(ring, ring->name);
}

int ring_start(struct ring *ring, struct memory *memory, uint64_t features)
{
	uint64_t num = ring->num;
	uint64_t used_len = 4 + num * sizeof(struct ring_used_elem) + 2;

	if (num == 0 || num > RING_NUM_MAX || (num & (num - 1)) != 0)
		return -EINVAL;
	ring->desc = memory_at_uva(
		memory, ring->addr.desc, num * sizeof(struct ring_desc), sizeof(struct ring_desc));
	ring->avail = memory_at_uva(memory, ring->addr.avail, 4 + num * 2 + 2, 2);
	ring->used = memory_at_uva(memory, ring->addr.used, used_len, 4);
	if (!ring->desc || !ring->avail || !ring->used)
		return -EINVAL;
	ring->event_idx = features & FEATURE(FEATURE_EVENT_IDX);
	ring->indirect = features & FEATURE(FEATURE_INDIRECT_DESC);
	ring->last_avail = ring->base;
	ring->used_next = load16(&ring->used[RING_IDX]);
	ring->used_shown = ring->used_next;
	ring->used_told = ring->used_next;
	ring->running = true;
	return 0;
}

void ring_stop(struct ring *ring, uint64_t features)
{
	if (!ring->running)
		return;
	if (!ring->broken) {
		ring_show(ring);
		(void)ring_notify(ring);
	}
	ring->running = false;
	ring->base = ring->last_avail;
	ring->trace = (struct ring_trace){
		.valid = true,
		.features = features,
		.addr = ring->addr,
		.num = ring->num,
		.base = ring->base,
	};
}

bool ring_changed(const struct ring *ring, uint64_t features)
{
	const struct ring_trace *trace = &ring->trace;

	return !trace->valid || trace->features != features || trace->num != ring->num ||
	       trace->base != ring->base || trace->addr.desc != ring->addr.desc ||
	       trace->addr.avail != ring->addr.avail || trace->addr.used != ring->addr.used;
}

int ring_break(struct ring *ring, const char *why)
{
	if (!ring->broken) {
		uint64_t one = 1;

		log_warning("%s ring is broken until the guest resets it: %s", ring->name, why);
		if (ring->err >= 0)
			(void)!write(ring->err, &one, sizeof(one));
	}
	ring->broken = true;
	return -EBADMSG;
}

int ring_available(struct ring *ring)
{
	uint16_t n = (uint16_t)(load16(&ring->avail[RING_IDX]) - ring->last_avail);

	if (n > ring->num)
		return ring_break(ring, "more entries are available than it has");
	return n;
}

int ring_take(struct ring *ring)
{
	uint16_t slot = ring->last_avail & (uint16_t)(ring->num - 1);
	uint16_t head = load16(&ring->avail[RING_ENTRIES + slot]);

	if (head >= ring->num)
		return ring_break(ring, "a head is not a descriptor's index");
	ring->last_avail++;
	return head;
}

bool ring_arm(struct ring *ring)
{
	/* Without EVENT_IDX used->flags stays 0: the driver always kicks. */
	if (ring->event_idx)
		store16(avail_event(ring), ring->last_avail);
	/* The driver writes idx and then reads avail_event; here it is the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&ring->avail[RING_IDX]) != ring->last_avail;
}

void ring_fill(struct ring *ring, uint16_t head, uint32_t len)
{
	uint16_t slot = ring->used_next & (uint16_t)(ring->num - 1);
	struct ring_used_elem elem = {.id = htole32(head), .len = htole32(len)};

	memcpy(&ring->used[RING_ENTRIES + (size_t)slot * (sizeof(elem) / 2)], &elem, sizeof(elem));
	ring->used_next++;
}

void ring_show(struct ring *ring)
{
	if (ring->used_shown == ring->used_next)
		return;
	store16(&ring->used[RING_IDX], ring->used_next);
	ring->used_shown = ring->used_next;
}

bool ring_notify(struct ring *ring)
{
	uint16_t shown = ring->used_shown;
	uint16_t told = ring->used_told;
	uint64_t one = 1;
	bool wanted;

	if (shown == told)
		return false;
	ring->used_told = shown;
	/* The driver writes used_event and then looks at idx; here it is the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->event_idx)
		wanted =
			(uint16_t)(shown - load16(used_event(ring)) - 1) < (uint16_t)(shown - told);
	else
		wanted = !(load16(&ring->avail[RING_FLAGS]) & AVAIL_NO_INTERRUPT);
	if (wanted && ring->call >= 0)
		(void)!write(ring->call, &one, sizeof(one));
	return wanted;
}
