/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/tx.h"

#include <errno.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define RUN_PACKETS   256U
#define SHOW_DELAY_NS (10 * NSEC_PER_MSEC)

static void show_late(struct loop_timer *timer)
{
	tx_show(container_of(timer, struct device, tx.show_timer));
}

void tx_init(struct tx *tx)
{
	tx->show_timer.fn = show_late;
}

void tx_show(struct device *device)
{
	struct ring *ring = &device->rings[RING_TX];

	loop_timer_del(&device->tx.show_timer);
	device->tx.hidden = 0;
	if (!ring->running || ring->broken)
		return;
	ring_show(ring);
	if (ring_notify(ring))
		device->counters.interrupts++;
}

void tx_forget(struct device *device, const struct flow *flow)
{
	if (device->tx.flow != flow)
		return;
	device->tx.flow = NULL;
	device->tx.bytes = 0;
	device->tx.count = 0;
}

static void flush(struct device *device)
{
	struct tx *tx = &device->tx;
	struct flow *flow = tx->flow;
	unsigned count = tx->count;
	size_t bytes = tx->bytes;

	tx->flow = NULL;
	tx->bytes = 0;
	tx->count = 0;
	if (flow)
		(void)flow_to_host(flow, tx->iov, count, bytes);
}

/* A packet from the guest: its header, copied, and where its bytes are. */
struct incoming {
	struct packet packet;
	const struct iovec *pieces; /* in tx->iov, behind what is gathered */
	unsigned count;
	uint64_t len; /* with the header */
};

static void refuse(struct device *device, const struct packet *packet)
{
	replies_push(&device->replies, packet->src_port, packet->dst_port, packet->type);
}

/* Adds the payload to what is gathered. False when the flow had to be reset. */
static bool gather(struct flow *flow, const struct incoming *in)
{
	struct device *device = flow->device;
	struct tx *tx = &device->tx;
	const struct packet *packet = &in->packet;

	if (flow->state == FLOW_CONNECTING || packet->len > PACKET_PAYLOAD_MAX ||
		packet->len > in->len - PACKET_SIZE) {
		flow_reset(flow);
		return false;
	}
	if (credit_take(&flow->credit, packet->len) < 0) {
		device->counters.credit_abuse++;
		flow_reset(flow);
		return false;
	}
	if (packet->len == 0)
		return true;
	if (flow->guest_shut & SHUTDOWN_SEND) {
		/* It had promised not to; nobody waits for these bytes. */
		flow->credit.fwd_cnt += packet->len;
		return true;
	}
	tx->flow = flow;
	/* Downwards in the same array, or in place. */
	tx->count += pieces_cut(
		in->pieces, in->count, PACKET_SIZE, packet->len, &tx->iov[tx->count], in->count);
	tx->bytes += packet->len;
	device->counters.from_guest_bytes += packet->len;
	return true;
}

/* A packet of a flow that the guest may know. */
static void on_flow_packet(struct flow *flow, const struct incoming *in)
{
	struct device *device = flow->device;
	const struct packet *packet = &in->packet;

	if (packet->op == OP_RST) {
		if (flow->state == FLOW_CONNECTING)
			device->counters.refused++;
		flow_free(flow);
		return;
	}
	if (credit_hear(&flow->credit, packet->buf_alloc, packet->fwd_cnt) < 0) {
		device->counters.credit_abuse++;
		flow_reset(flow);
		return;
	}
	switch (packet->op) {
	case OP_RW:
		if (!gather(flow, in))
			return;
		break;
	case OP_CREDIT_UPDATE:
		break;
	case OP_CREDIT_REQUEST:
		flow_owe(flow, OP_CREDIT_UPDATE);
		break;
	case OP_RESPONSE:
		if (flow->state != FLOW_CONNECTING)
			flow_reset(flow);
		else
			proxy_confirm(flow);
		return;
	case OP_SHUTDOWN:
		if (flow->state == FLOW_CONNECTING)
			flow_reset(flow);
		else
			flow_guest_shutdown(flow, packet->flags);
		return;
	default: /* a second REQUEST, or what is no operation */
		flow_reset(flow);
		return;
	}
	flow_credit_changed(flow);
}

static void on_packet(struct device *device, const struct incoming *in)
{
	const struct packet *packet = &in->packet;
	struct flow *flow;

	if (packet->src_cid != device->options->cid || packet->dst_cid != CID_HOST) {
		device->counters.dropped++;
		return;
	}
	flow = flow_find(&device->flows, packet->src_port, packet->dst_port);
	if (packet->op != OP_RW || flow != device->tx.flow)
		flush(device); /* which may end the very flow that was found */
	flow = flow_find(&device->flows, packet->src_port, packet->dst_port);
	if (packet->type != PACKET_STREAM || !flow || !flow->announced) {
		if (packet->type == PACKET_STREAM && packet->op == OP_REQUEST)
			dial(device, packet);
		else if (packet->op != OP_RST)
			refuse(device, packet);
		return;
	}
	on_flow_packet(flow, in);
}

static int take_one(struct device *device)
{
	struct tx *tx = &device->tx;
	struct ring *ring = &device->rings[RING_TX];
	struct chain chain;
	int r;

	/* What was gathered stays in place; this chain's pieces come behind it. */
	r = chain_take(
		ring, &device->memory, CHAIN_FROM_GUEST, &tx->iov[tx->count], CHAIN_MAX, &chain);
	if (r < 0)
		return r;
	device->counters.from_guest_packets++;
	if (chain.len < PACKET_SIZE) {
		device->counters.dropped++;
	} else {
		struct incoming in = {
			.pieces = &tx->iov[tx->count], .count = chain.count, .len = chain.len};

		pieces_read(in.pieces, &in.packet, PACKET_SIZE);
		packet_from_le(&in.packet);
		on_packet(device, &in);
	}
	/* Not shown before the gathered bytes are gone: tx_run() flushes first. */
	ring_fill(ring, chain.head, 0);
	tx->hidden += chain.slots;
	if (tx->count >= TX_PIECES || tx->bytes >= CREDIT_BUF_ALLOC)
		flush(device);
	return 0;
}

bool tx_pending(const struct device *device)
{
	const struct ring *ring = &device->rings[RING_TX];

	return device->tx.kicked && ring->running && !ring->broken &&
	       device->replies.count < REPLIES_PAUSE;
}

void tx_run(struct device *device)
{
	struct tx *tx = &device->tx;
	struct ring *ring = &device->rings[RING_TX];

	for (unsigned done = 0; done < RUN_PACKETS && tx_pending(device); done++) {
		int n = ring_available(ring);

		if (n == 0) {
			/* Send before the ring is looked at again: the guest waits for this. */
			flush(device);
			tx->kicked = ring_arm(ring);
			continue;
		}
		if (n < 0 || take_one(device) < 0)
			break;
	}
	flush(device);
	if (tx->kicked && device->replies.count >= REPLIES_PAUSE)
		device->counters.paused++;
	if (tx->hidden >= ring->num / 4)
		tx_show(device);
	else if (tx->hidden > 0 && !tx->show_timer.loop)
		loop_timer_set(&device->loop, &tx->show_timer, monotonic_ns() + SHOW_DELAY_NS);
}
