/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of all flows: creation, look-up by ports, port numbers, and the end. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"

/* What each of the allowed flows may hold on average of bytes that the host does not take; one that
 * is alone may always hold its whole credit. */
#define POOL_BYTES_PER_FLOW 65536U

/* The most that one flow's buffer can grow to: it doubles. */
#define SPILL_MAX ((size_t)2 * CREDIT_BUF_ALLOC)

int flows_init(struct flows *flows, unsigned max)
{
	uint32_t size = 64;
	size_t pool = (size_t)max * POOL_BYTES_PER_FLOW;

	while (size < max)
		size *= 2;
	*flows = (struct flows){
		.max = max,
		.table_mask = size - 1,
		.next_port = FLOW_PORT_FIRST,
		.next_root_port = FLOW_ROOT_PORT_LAST,
		.pool.limit = pool < SPILL_MAX ? SPILL_MAX : pool,
	};
	list_init(&flows->all);
	list_init(&flows->run);
	/* The guest picks its ports; a secret seed keeps it from filling one bucket. */
	if (getrandom(&flows->seed, sizeof(flows->seed), GRND_NONBLOCK) < 0)
		flows->seed = (uint32_t)(uintptr_t)flows;
	flows->table = calloc(size, sizeof(struct flow *));
	return flows->table ? 0 : -ENOMEM;
}

void flows_done(struct flows *flows)
{
	flows_drop(flows, FLOWS_ALL);
	free(flows->table);
	flows->table = NULL;
}

void flows_drop(struct flows *flows, enum flows_kind kind)
{
	LIST_EACH(&flows->all, node)
	{
		struct flow *flow = container_of(node, struct flow, all);

		bool draining = flow->state == FLOW_DRAINING;

		/* What a guest said to its end goes on to the host, also when it is gone. */
		if (kind == FLOWS_ALL || (!draining && (kind == FLOWS_LIVE || flow->announced)))
			flow_free(flow);
	}
}

static struct flow **bucket(struct flows *flows, uint32_t guest_port, uint32_t host_port)
{
	uint64_t key = ((uint64_t)guest_port << 32 | host_port) ^ flows->seed;

	key = (key ^ key >> 29) * UINT64_C(0x9e3779b97f4a7c15);
	key = (key ^ flows->seed ^ key >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return &flows->table[(uint32_t)(key >> 32) & flows->table_mask];
}

struct flow *flow_find(struct flows *flows, uint32_t guest_port, uint32_t host_port)
{
	struct flow *flow = *bucket(flows, guest_port, host_port);

	while (flow && (flow->guest_port != guest_port || flow->host_port != host_port))
		flow = flow->hash_next;
	return flow;
}

int flow_bind(struct flow *flow, uint32_t guest_port, uint32_t host_port)
{
	struct flows *flows = &flow->device->flows;
	struct flow **link = bucket(flows, guest_port, host_port);

	if (flow_find(flows, guest_port, host_port))
		return -EADDRINUSE;
	flow->guest_port = guest_port;
	flow->host_port = host_port;
	flow->hash_next = *link;
	*link = flow;
	flow->in_table = true;
	return 0;
}

int flow_bind_auto(struct flow *flow, uint32_t guest_port, bool root)
{
	struct flows *flows = &flow->device->flows;

	/* No more ports can be taken than there are flows. */
	for (unsigned tries = 0; tries <= flows->max; tries++) {
		uint32_t port;

		if (root) {
			port = flows->next_root_port--;
			if (flows->next_root_port == 0)
				flows->next_root_port = FLOW_ROOT_PORT_LAST;
		} else {
			port = flows->next_port++;
			if (flows->next_port > FLOW_PORT_LAST)
				flows->next_port = FLOW_PORT_FIRST;
		}
		if (flow_bind(flow, guest_port, port) == 0)
			return 0;
	}
	return -EADDRINUSE;
}

void flow_unbind(struct flow *flow)
{
	struct flow **link;

	if (!flow->in_table)
		return;
	link = bucket(&flow->device->flows, flow->guest_port, flow->host_port);
	while (*link != flow)
		link = &(*link)->hash_next;
	*link = flow->hash_next;
	flow->in_table = false;
}

int flow_new(struct device *device, int fd, enum flow_state state, struct flow **ret_flow)
{
	struct flows *flows = &device->flows;
	struct flow *flow = NULL;
	int r = -EMFILE;

	if (flows->count < flows->max) {
		flow = calloc(1, sizeof(*flow));
		r = -ENOMEM;
	}
	if (!flow) {
		(void)fd_close(fd);
		return r;
	}
	flow->device = device;
	flow->state = state;
	flow->fd = fd;
	flow->io.fn = flow_on_socket;
	flow->timer.fn = flow_on_timer;
	list_append(&flows->all, &flow->all);
	flows->count++;
	/* Edge-triggered: a flow without credit or buffers must not wake the loop over and over. */
	r = loop_io_add(&device->loop, &flow->io, fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
	if (r < 0) {
		flow_free(flow);
		return r;
	}
	*ret_flow = flow;
	return 0;
}

void flow_free(struct flow *flow)
{
	struct flows *flows = &flow->device->flows;

	flow_unbind(flow);
	loop_timer_del(&flow->timer);
	loop_io_del(&flow->io);
	(void)fd_close(flow->fd);
	spill_drop(&flow->spill, &flows->pool);
	list_remove(&flow->run);
	list_remove(&flow->all);
	flows->count--;
	tx_forget(flow->device, flow);
	free(flow);
}
