/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/device.h"

#include <errno.h>
#include <sys/epoll.h>

#include "proto/cleanup.h"
#include "proto/log.h"

int device_init(struct device *device, const struct device_options *options)
{
	int r;

	*device = (struct device){.options = options, .loop.epoll = -EBADF};
	list_init(&device->flows.all);
	list_init(&device->flows.run);
	frontend_init(&device->frontend);
	listener_init(&device->proxy);
	ring_init(&device->rings[RING_RX], "receive");
	ring_init(&device->rings[RING_TX], "transmit");
	tx_init(&device->tx);
	r = loop_init(&device->loop);
	if (r == 0)
		r = flows_init(&device->flows, options->max_connections);
	if (r == 0)
		r = replies_init(&device->replies, options->max_connections);
	memory_guard(&device->memory);
	return r;
}

void device_done(struct device *device)
{
	listener_close(&device->proxy);
	frontend_close(device);
	device_reset(device);
	memory_guard(NULL);
	flows_done(&device->flows);
	replies_done(&device->replies);
	loop_done(&device->loop);
}

static void on_rx_kick(struct loop_io *io, uint32_t events)
{
	(void)events;
	container_of(io, struct device, rings[RING_RX].kick_io)->rx.starved = false;
}

static void on_tx_kick(struct loop_io *io, uint32_t events)
{
	(void)events;
	container_of(io, struct device, rings[RING_TX].kick_io)->tx.kicked = true;
}

int device_set_kick(struct device *device, struct ring *ring, int fd)
{
	int r;

	loop_io_del(&ring->kick_io);
	(void)fd_close(ring->kick);
	ring->kick = fd;
	ring->kick_io.fn = ring == &device->rings[RING_RX] ? on_rx_kick : on_tx_kick;
	/* Edge-triggered: each kick wakes the loop once, and its count need not be read. */
	r = loop_io_add(&device->loop, &ring->kick_io, fd, EPOLLIN | EPOLLET);
	if (r < 0)
		ring->kick = fd_close(ring->kick);
	return r;
}

void device_renotify(struct device *device, struct ring *ring)
{
	if (!ring->running || ring->broken)
		return;
	ring->used_told = (uint16_t)(ring->used_shown - 1);
	if (ring_notify(ring))
		device->counters.interrupts++;
}

void device_halt(struct device *device)
{
	if (device->rings[RING_TX].running)
		tx_show(device);
	if (device->rings[RING_RX].running)
		rx_rewind(device);
	for (unsigned i = 0; i < RING_COUNT; i++)
		ring_stop(&device->rings[i], device->features);
}

static bool may_run(const struct device *device, const struct ring *ring)
{
	bool enabled = ring->enabled || !(device->features & FEATURE(FEATURE_PROTOCOL_FEATURES));

	return enabled && !ring->broken && ring->kick >= 0 && ring->have_addr && ring->num > 0 &&
	       device->memory.count > 0;
}

void device_update(struct device *device)
{
	struct ring *rx = &device->rings[RING_RX];
	struct ring *tx = &device->rings[RING_TX];
	bool changed;

	/* Both or none: a stream that begins needs the two. */
	if (rx->running || !may_run(device, rx) || !may_run(device, tx))
		return;
	changed = ring_changed(rx, device->features) || ring_changed(tx, device->features);
	if (ring_start(rx, &device->memory, device->features) < 0 ||
		ring_start(tx, &device->memory, device->features) < 0) {
		rx->running = false;
		log_warning("the rings cannot run: their addresses are not in guest memory");
		return;
	}
	if (changed) {
		flows_drop(&device->flows, FLOWS_ANNOUNCED);
		replies_clear(&device->replies);
	}
	/* A kick may be gone by now: look without one. */
	device->rx.starved = false;
	device->tx.kicked = true;
}

void device_reset(struct device *device)
{
	device_halt(device);
	for (unsigned i = 0; i < RING_COUNT; i++)
		ring_reset(&device->rings[i]);
	memory_clear(&device->memory);
	flows_drop(&device->flows, FLOWS_LIVE);
	replies_clear(&device->replies);
	loop_timer_del(&device->tx.show_timer);
	device->tx.kicked = false;
	device->features = 0;
	device->protocol_features = 0;
}

/* The guest broke a ring: nothing passes until it resets the device, so its streams are over. */
static void check_ring(struct device *device, struct ring *ring)
{
	if (!ring->running || !ring->broken)
		return;
	device->counters.rings_broken++;
	device_halt(device);
	ring->trace.valid = false;
	flows_drop(&device->flows, FLOWS_ANNOUNCED);
	replies_clear(&device->replies);
}

int device_step(struct device *device, int timeout_ms)
{
	bool busy = tx_pending(device) || rx_pending(device);
	int r;

	r = loop_once(&device->loop, busy ? 0 : timeout_ms);
	if (r < 0)
		return r;
	tx_run(device);
	rx_run(device);
	for (unsigned i = 0; i < RING_COUNT; i++)
		check_ring(device, &device->rings[i]);
	if (device->frontend.linger.loop && device->flows.count == 0)
		loop_stop(&device->loop, 0);
	if (device->memory.lost) {
		log_error("the front-end took guest memory away");
		frontend_drop(device);
	}
	return 0;
}
