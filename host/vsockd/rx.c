/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/rx.h"

#include <errno.h>
#include <sys/uio.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"

/* A flow's share before the next one has its turn, and the share of all before the loop looks at
 * other events. */
#define TURN_BYTES 65536U
#define RUN_BYTES  (UINT64_C(4) * TURN_BYTES)
#define RUN_TURNS  64U

/* Reads for one turn. */
#define READS_MAX 16U

/* What a packet to the guest says; lengths and credit are added when it is stamped. */
struct outgoing {
	uint32_t guest_port, host_port;
	uint16_t type, op;
	uint32_t flags, len;
};

static struct ring *rx_ring(struct device *device)
{
	return &device->rings[RING_RX];
}

/* Takes one buffer off the ring. 1; 0 when it was too small and went back; -EBADMSG. */
static int fetch_one(struct device *device)
{
	struct rx *rx = &device->rx;
	struct rx_buffer *buffer = &rx->ready[(rx->first + rx->count) % RX_BATCH];
	struct ring *ring = rx_ring(device);
	struct chain chain;
	int r;

	r = chain_take(ring, &device->memory, CHAIN_TO_GUEST, buffer->iov, RX_PIECES, &chain);
	if (r < 0)
		return r;
	if (chain.len <= PACKET_SIZE) {
		device->counters.bad_buffers++;
		ring_fill(ring, chain.head, 0);
		return 0;
	}
	buffer->head = chain.head;
	buffer->count = chain.count;
	chain.len -= PACKET_SIZE;
	buffer->room = chain.len < PACKET_PAYLOAD_MAX ? (uint32_t)chain.len : PACKET_PAYLOAD_MAX;
	rx->count++;
	return 1;
}

/* Has up to `want` <= RX_BATCH buffers ready, if the ring has that many. Returns how many are. */
static unsigned fetch(struct device *device, unsigned want)
{
	struct rx *rx = &device->rx;
	struct ring *ring = rx_ring(device);

	rx->starved = false;
	/* Useless buffers are gone through once in a call, however fast the guest posts them. */
	for (uint32_t looked = 0; rx->count < want && looked <= ring->num; looked++) {
		int n = ring_available(ring);

		if (n < 0)
			break;
		if (n == 0 && (rx->count > 0 || !ring_arm(ring))) {
			rx->starved = rx->count == 0;
			break;
		}
		if (n > 0 && fetch_one(device) < 0)
			break;
	}
	return rx->count < want ? rx->count : want;
}

/* Writes the header of the oldest ready buffer, and gives the buffer to the guest. */
static void stamp(struct device *device, const struct outgoing *out, const struct credit *credit)
{
	struct rx *rx = &device->rx;
	struct rx_buffer *buffer = &rx->ready[rx->first];
	struct packet packet = {
		.src_cid = CID_HOST,
		.dst_cid = device->options->cid,
		.src_port = out->host_port,
		.dst_port = out->guest_port,
		.len = out->len,
		.type = out->type,
		.op = out->op,
		.flags = out->flags,
		.buf_alloc = credit ? CREDIT_BUF_ALLOC : 0,
		.fwd_cnt = credit ? credit->fwd_cnt : 0,
	};

	packet_to_le(&packet);
	pieces_write(buffer->iov, &packet, PACKET_SIZE);
	ring_fill(rx_ring(device), buffer->head, PACKET_SIZE + out->len);
	rx->first = (rx->first + 1) % RX_BATCH;
	rx->count--;
	device->counters.to_guest_packets++;
	device->counters.to_guest_bytes += out->len;
}

static void stamp_flow(struct flow *flow, enum packet_op op, uint32_t flags, uint32_t len)
{
	struct outgoing out = {
		.guest_port = flow->guest_port,
		.host_port = flow->host_port,
		.type = PACKET_STREAM,
		.op = (uint16_t)op,
		.flags = flags,
		.len = len,
	};

	stamp(flow->device, &out, &flow->credit);
	flow->credit.told_fwd_cnt = flow->credit.fwd_cnt;
	flow->owed &= (uint8_t) ~(1U << OP_CREDIT_UPDATE);
}

static void send_reply(struct device *device, const struct reply *reply)
{
	struct outgoing out = {
		.guest_port = reply->guest_port,
		.host_port = reply->host_port,
		.type = reply->type,
		.op = OP_RST,
	};

	stamp(device, &out, NULL);
	device->counters.resets_sent++;
}

static void send_owed(struct flow *flow)
{
	/* A request or response comes before anything else of a flow. */
	static const enum packet_op order[] = {
		OP_REQUEST, OP_RESPONSE, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST};

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		if (!(flow->owed & (1U << order[i])))
			continue;
		flow->owed &= (uint8_t) ~(1U << order[i]);
		stamp_flow(flow, order[i], 0, 0);
		flow->announced = true;
		return;
	}
}

/* Lists the payload room of the first ready buffers, from byte `from` of it up to byte `to`. */
static unsigned room_for(struct rx *rx, unsigned buffers, uint32_t from, uint32_t to)
{
	unsigned count = 0;
	uint32_t start = 0; /* of this buffer's room */

	for (unsigned i = 0; i < buffers && start < to; i++) {
		const struct rx_buffer *buffer = &rx->ready[(rx->first + i) % RX_BATCH];
		uint32_t skip = from > start ? from - start : 0;
		uint32_t len = buffer->room < to - start ? buffer->room : to - start;

		if (skip < len)
			count += pieces_cut(buffer->iov, buffer->count, PACKET_SIZE + skip,
				len - skip, &rx->iov[count], RX_PIECES);
		start += len;
	}
	return count;
}

/* Reads up to want bytes into the ready buffers. Several times, if the host writes in small pieces:
 * each packet costs the guest the same. Returns the bytes read. */
static uint32_t read_host(struct flow *flow, unsigned buffers, uint32_t want)
{
	struct rx *rx = &flow->device->rx;
	uint32_t got = 0;

	for (unsigned reads = 0; reads < READS_MAX && got < want; reads++) {
		unsigned count = room_for(rx, buffers, got, want);
		ssize_t n = count > 0 ? readv(flow->fd, rx->iov, (int)count) : -1;

		if (count == 0)
			break;
		if (n > 0) {
			got += (uint32_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EFAULT)
			flow->device->memory.lost = 1;
		if (n < 0 && errno == EAGAIN)
			flow->readable = false;
		else
			flow_host_eof(flow);
		break;
	}
	return got;
}

static void send_data(struct flow *flow)
{
	struct device *device = flow->device;
	struct rx *rx = &device->rx;
	uint32_t want = credit_worthwhile(&flow->credit);
	unsigned buffers = credit_packets(&flow->credit);
	uint32_t got;

	want = want < TURN_BYTES ? want : TURN_BYTES;
	buffers = fetch(device, buffers < RX_BATCH ? buffers : RX_BATCH);
	/* Whole buffers, while more credit is to come. */
	if (want > rx->ready[rx->first].room)
		want -= want % rx->ready[rx->first].room;
	got = read_host(flow, buffers, want);
	while (got > 0) {
		uint32_t room = rx->ready[rx->first].room;
		uint32_t len = got < room ? got : room;

		credit_sent(&flow->credit, len);
		stamp_flow(flow, OP_RW, 0, len);
		got -= len;
	}
}

/* One packet, or one read of data. */
static void turn(struct flow *flow)
{
	if (flow->owed) {
		send_owed(flow);
	} else if (flow_may_send(flow)) {
		send_data(flow);
	} else if (flow->shut_want & ~flow->shut_sent) {
		stamp_flow(flow, OP_SHUTDOWN, flow->shut_want, 0);
		flow_shutdown_sent(flow);
	}
	flow_wake(flow);
}

bool rx_pending(const struct device *device)
{
	const struct ring *ring = &device->rings[RING_RX];

	return ring->running && !ring->broken && !device->rx.starved &&
	       (device->replies.count > 0 || !list_empty(&device->flows.run));
}

void rx_run(struct device *device)
{
	struct ring *ring = rx_ring(device);
	uint64_t enough = device->counters.to_guest_bytes + RUN_BYTES;

	for (unsigned turns = 0; turns < RUN_TURNS && rx_pending(device); turns++) {
		struct list_node *node = list_first(&device->flows.run);
		struct reply reply;

		if (device->counters.to_guest_bytes >= enough || fetch(device, 1) == 0)
			break;
		if (replies_pop(&device->replies, &reply)) {
			send_reply(device, &reply);
		} else if (node) {
			list_remove(node);
			turn(container_of(node, struct flow, run));
		}
	}
	if (ring->running && !ring->broken) {
		ring_show(ring);
		if (ring_notify(ring))
			device->counters.interrupts++;
	}
}

void rx_rewind(struct device *device)
{
	struct ring *ring = rx_ring(device);

	ring->last_avail = (uint16_t)(ring->last_avail - device->rx.count);
	device->rx.count = 0;
	device->rx.starved = false;
}
