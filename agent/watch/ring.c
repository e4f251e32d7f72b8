/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/watch/watch.h"
#include "proto/clock.h"
#include "proto/encode.h"

int ring_init(struct ring *ring)
{
	*ring = (struct ring){.next = 1, .oldest = 1};
	if (getrandom(&ring->epoch, sizeof(ring->epoch), 0) != (ssize_t)sizeof(ring->epoch))
		return -errno;
	return 0;
}

static struct event *slot(const struct ring *ring, uint64_t seq)
{
	return &ring->events[seq % EVENT_RING_ENTRIES];
}

const struct event *ring_get(const struct ring *ring, uint64_t seq)
{
	return seq >= ring->oldest && seq < ring->next ? slot(ring, seq) : NULL;
}

static void drop_oldest(struct ring *ring)
{
	struct event *event = slot(ring, ring->oldest);

	ring->bytes -= event->len;
	free(event->payload);
	*event = (struct event){0};
	ring->oldest++;
}

/* Room for one more of len bytes. */
static bool make_room(struct ring *ring, size_t len)
{
	if (len > EVENT_PAYLOAD_MAX)
		return false;
	if (!ring->events)
		ring->events = calloc(EVENT_RING_ENTRIES, sizeof(*ring->events));
	if (!ring->events)
		return false;
	while (ring->oldest < ring->next && (ring->next - ring->oldest >= EVENT_RING_ENTRIES ||
						    ring->bytes + len > EVENT_RING_BYTES))
		drop_oldest(ring);
	return true;
}

static void add(struct watch *watch, enum topic topic, uint64_t concerns, uint32_t uid,
	const uint8_t *payload, size_t len, const struct load_sample *sample)
{
	struct ring *ring = &watch->ring;
	uint8_t *copy = NULL;

	if (make_room(ring, len))
		copy = malloc(len ? len : 1);
	if (!copy) {
		/* The number is used up, and everything older goes: subscribers see a gap. */
		while (ring->events && ring->oldest < ring->next)
			drop_oldest(ring);
		ring->oldest = ++ring->next;
		subscribers_pump(watch);
		return;
	}
	memcpy(copy, payload, len);
	*slot(ring, ring->next) = (struct event){.seq = ring->next,
		.time_ns = clock_ns(CLOCK_REALTIME),
		.at_ns = monotonic_ns(),
		.topic = topic,
		.concerns = concerns,
		.uid = uid,
		.payload = copy,
		.len = len};
	if (sample)
		slot(ring, ring->next)->sample = *sample;
	ring->bytes += len;
	ring->next++;
	subscribers_pump(watch);
}

void ring_add(struct watch *watch, enum topic topic, const uint8_t *payload, size_t len,
	const struct load_sample *sample)
{
	add(watch, topic, UINT64_C(1) << topic, EVERYBODY, payload, len, sample);
}

void ring_add_gap(struct watch *watch, uint64_t topics)
{
	/* A NotifyGap without a count: a message without a field has no bytes. */
	add(watch, TOPIC_gap, topics, EVERYBODY, (const uint8_t *)"", 0, NULL);
}

void ring_add_message(struct watch *watch, enum topic topic, const ProtobufCMessage *message,
	const struct load_sample *sample)
{
	size_t len;
	uint8_t *payload = encode_new(message, &len);

	ring_add(watch, topic, payload, payload ? len : SIZE_MAX, sample);
	free(payload);
}

void ring_add_private(
	struct watch *watch, enum topic topic, const ProtobufCMessage *message, uint32_t uid)
{
	size_t len;
	uint8_t *payload = encode_new(message, &len);

	add(watch, topic, UINT64_C(1) << topic, uid, payload, payload ? len : SIZE_MAX, NULL);
	free(payload);
}
