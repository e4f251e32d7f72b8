/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of one flow: what happens on the host socket, by time, and by the guest's wish. */
#include "host/vsockd/flow.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

/* A guest that owes an acknowledgement of packets is asked again and again; Linux does not send one
 * by itself while few bytes were read. */
#define ASK_FIRST_MS 2U
#define ASK_LAST_MS  1000U

/* A guest whose buffer is full tells by itself when it is not; it is asked once if it seems not to.
 */
#define ASK_BYTES_MS 20U

/* The kernel takes no more in one call (UIO_MAXIOV). */
#define SEND_PIECES 1024U

static void set_timer(struct flow *flow, uint32_t ms)
{
	loop_timer_set(&flow->device->loop, &flow->timer, monotonic_ns() + ms * NSEC_PER_MSEC);
}

static bool wants_data(const struct flow *flow)
{
	return flow->state == FLOW_ESTABLISHED && flow->readable && !flow->eof &&
	       !(flow->guest_shut & SHUTDOWN_RECV);
}

void flow_wake(struct flow *flow)
{
	bool work = flow->owed || (flow->shut_want & ~flow->shut_sent);

	if (wants_data(flow)) {
		if (credit_packets(&flow->credit) == 0)
			flow_starved(flow, true);
		else if (credit_worthwhile(&flow->credit) == 0)
			flow_starved(flow, false);
		else
			work = true;
		work = work || flow->owed;
	}
	if (work && !flow->run.next)
		list_append(&flow->device->flows.run, &flow->run);
}

bool flow_may_send(const struct flow *flow)
{
	return wants_data(flow) && credit_worthwhile(&flow->credit) > 0 &&
	       credit_packets(&flow->credit) > 0;
}

void flow_owe(struct flow *flow, enum packet_op op)
{
	flow->owed |= (uint8_t)(1U << op);
	if (!flow->run.next)
		list_append(&flow->device->flows.run, &flow->run);
}

void flow_request(struct flow *flow)
{
	flow->state = FLOW_CONNECTING;
	set_timer(flow, FLOW_CONNECT_TIMEOUT_MS);
	flow_owe(flow, OP_REQUEST);
}

void flow_establish(struct flow *flow)
{
	loop_timer_del(&flow->timer);
	flow->state = FLOW_ESTABLISHED;
	/* What arrived before was announced while nobody looked. */
	flow->readable = true;
	flow_wake(flow);
}

void flow_starved(struct flow *flow, bool of_packets)
{
	if (flow->timer.loop || (flow->asked && !of_packets))
		return;
	if (!of_packets) {
		set_timer(flow, ASK_BYTES_MS);
		return;
	}
	if (!flow->asked) {
		flow->asked = true;
		flow->ask_ms = ASK_FIRST_MS;
		flow->owed |= 1U << OP_CREDIT_REQUEST;
	}
	set_timer(flow, flow->ask_ms);
}

static void ask_again(struct flow *flow)
{
	bool of_packets = credit_packets(&flow->credit) == 0;

	if (!wants_data(flow) || (!of_packets && credit_worthwhile(&flow->credit) > 0))
		return;
	flow->asked = true;
	flow->ask_ms = flow->ask_ms ? flow->ask_ms * 2 : ASK_FIRST_MS;
	if (flow->ask_ms > ASK_LAST_MS)
		flow->ask_ms = ASK_LAST_MS;
	if (of_packets)
		set_timer(flow, flow->ask_ms);
	flow_owe(flow, OP_CREDIT_REQUEST);
}

void flow_credit_changed(struct flow *flow)
{
	if (flow->state != FLOW_ESTABLISHED)
		return;
	if (credit_worthwhile(&flow->credit) > 0 && credit_packets(&flow->credit) > 0) {
		loop_timer_del(&flow->timer);
		flow->asked = false;
		flow->ask_ms = 0;
	}
	flow_wake(flow);
}

void flow_on_timer(struct loop_timer *timer)
{
	struct flow *flow = container_of(timer, struct flow, timer);

	switch (flow->state) {
	case FLOW_LINE:
		flow->device->counters.refused++;
		flow_free(flow);
		return;
	case FLOW_CONNECTING:
		flow->device->counters.refused++;
		flow_reset(flow);
		return;
	case FLOW_ESTABLISHED:
		ask_again(flow);
		return;
	case FLOW_CLOSING:
		flow_reset(flow);
		return;
	case FLOW_DRAINING:
		return;
	}
}

void flow_host_eof(struct flow *flow)
{
	flow->eof = true;
	flow->shut_want |= SHUTDOWN_SEND;
}

/* The host takes no more bytes: those kept for it count as handed on, and the guest should stop. */
static void host_gone(struct flow *flow)
{
	if (flow->host_gone)
		return;
	flow->host_gone = true;
	flow->credit.fwd_cnt += (uint32_t)spill_len(&flow->spill);
	spill_drop(&flow->spill, &flow->device->flows.pool);
	flow->shut_want |= SHUTDOWN_RECV;
	flow->readable = true;
	if (flow->guest_shut & SHUTDOWN_RECV)
		flow_host_eof(flow);
}

void flow_shutdown_sent(struct flow *flow)
{
	flow->shut_sent = flow->shut_want;
	if (flow->shut_sent != SHUTDOWN_BOTH)
		return;
	flow->state = FLOW_CLOSING;
	set_timer(flow, FLOW_SHUTDOWN_TIMEOUT_MS);
}

static ssize_t try_send(struct flow *flow, const struct iovec *iov, unsigned count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov,
		.msg_iovlen = count < SEND_PIECES ? count : SEND_PIECES};
	ssize_t n = sendmsg(flow->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM)
		return 0;
	if (errno == EFAULT)
		flow->device->memory.lost = 1;
	return -errno;
}

bool flow_to_host(struct flow *flow, const struct iovec *iov, unsigned count, size_t bytes)
{
	struct device *device = flow->device;
	ssize_t n = 0;

	if (!flow->host_gone && spill_len(&flow->spill) == 0) {
		n = try_send(flow, iov, count);
		if (n < 0)
			host_gone(flow);
	}
	if (flow->host_gone)
		n = (ssize_t)bytes;
	flow->credit.fwd_cnt += (uint32_t)n;
	if ((size_t)n < bytes) {
		device->counters.spilled_bytes += bytes - (size_t)n;
		if (spill_append(&flow->spill, &device->flows.pool, iov, count, (size_t)n) < 0) {
			flow_reset(flow);
			return false;
		}
		(void)loop_io_set(&flow->io, flow->io.events | EPOLLOUT);
	}
	if (credit_owed(&flow->credit))
		flow->owed |= 1U << OP_CREDIT_UPDATE;
	flow_wake(flow);
	return true;
}

/* False when the flow is gone. */
static bool flush(struct flow *flow)
{
	struct device *device = flow->device;
	ssize_t n = 1;

	while (spill_len(&flow->spill) > 0 && n > 0) {
		n = spill_flush(&flow->spill, &device->flows.pool, flow->fd);
		if (n > 0)
			flow->credit.fwd_cnt += (uint32_t)n;
		else if (n < 0 && n != -EAGAIN && n != -EINTR)
			host_gone(flow);
	}
	if (spill_len(&flow->spill) > 0)
		return true;
	if (flow->state == FLOW_DRAINING) {
		flow_free(flow);
		return false;
	}
	(void)loop_io_set(&flow->io, flow->io.events & ~(uint32_t)EPOLLOUT);
	if (flow->guest_shut & SHUTDOWN_SEND)
		(void)shutdown(flow->fd, SHUT_WR);
	return true;
}

void flow_on_socket(struct loop_io *io, uint32_t events)
{
	struct flow *flow = container_of(io, struct flow, io);

	if (flow->state == FLOW_LINE) {
		proxy_on_client(flow, events);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR)) {
		/* Gone before it was connected, or while it had bytes to take: all is over. */
		if (flow->state == FLOW_CONNECTING || flow->state == FLOW_DRAINING) {
			flow_reset(flow);
			return;
		}
		host_gone(flow);
	}
	if ((events & EPOLLOUT) && !flush(flow))
		return;
	if (events & (EPOLLIN | EPOLLRDHUP))
		flow->readable = true;
	if (credit_owed(&flow->credit) && flow->state == FLOW_ESTABLISHED)
		flow->owed |= 1U << OP_CREDIT_UPDATE;
	flow_wake(flow);
}

void flow_guest_shutdown(struct flow *flow, uint32_t flags)
{
	flow->guest_shut |= (uint8_t)(flags & SHUTDOWN_BOTH);
	if (flow->guest_shut != SHUTDOWN_BOTH) {
		if (flags & SHUTDOWN_RECV)
			(void)shutdown(flow->fd, SHUT_RD);
		if ((flags & SHUTDOWN_RECV) && flow->host_gone)
			flow_host_eof(flow);
		if ((flags & SHUTDOWN_SEND) && spill_len(&flow->spill) == 0)
			(void)shutdown(flow->fd, SHUT_WR);
		flow_wake(flow);
		return;
	}
	/* The guest waits for this answer before its port is free again, so it does not wait for
	 * the host; what the host has yet to take stays until it does or goes away. */
	if (spill_len(&flow->spill) == 0) {
		flow_reset(flow);
		return;
	}
	replies_push(&flow->device->replies, flow->guest_port, flow->host_port, PACKET_STREAM);
	flow_unbind(flow);
	list_remove(&flow->run);
	loop_timer_del(&flow->timer);
	flow->owed = 0;
	flow->state = FLOW_DRAINING;
}

void flow_reset(struct flow *flow)
{
	if (flow->in_table && flow->announced)
		replies_push(
			&flow->device->replies, flow->guest_port, flow->host_port, PACKET_STREAM);
	flow_free(flow);
}
