/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/job/job.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define COUNT_NS   (250 * NSEC_PER_MSEC) /* between two counts of a port that is busy */
#define DRAIN_MOST 16   /* pieces in one turn, of a caller that sends without pause */
#define SHUT_MS    2000 /* for the caller to take the end of our bytes */

static void tell(struct port *port, enum inner_kind kind)
{
	struct inner_message message = {.kind = (uint16_t)kind,
		.id = port->number,
		.arg = port->from_caller,
		.aux = port->to_caller};

	port->told_ns = monotonic_ns();
	(void)inner_send(port->job->broker, &message, NULL, NULL, 0);
}

void port_count(struct port *port)
{
	if (monotonic_ns() - port->told_ns >= COUNT_NS)
		tell(port, INNER_COUNT);
}

bool port_grant(struct job_process *job, struct port *port, struct grant *ret_grant)
{
	for (int i = 0; i < GRANTS_MAX; i++) {
		const struct grant *grant = &job->facts.grants[i];

		if (grant->number == 0 || job->used >> i & 1)
			continue;
		job->used |= UINT64_C(1) << i;
		*port = (struct port){.job = job, .number = grant->number, .socket = -EBADF};
		*ret_grant = *grant;
		return true;
	}
	return false;
}

void port_drop(struct port *port)
{
	if (port->number == 0)
		return;
	loop_io_del(&port->io);
	loop_timer_del(&port->timer);
	port->socket = fd_close(port->socket);
	tell(port, INNER_CLOSED);
	port->number = 0;
	output_update(port == &port->job->stdio ? &port->job->output : &port->job->errors);
}

void port_close(struct port *port)
{
	bool used = port->number != 0;

	port_drop(port);
	/* Where the caller's connection went first, nobody looks again. */
	if (used && port->job->left)
		job_disconnected(port->job);
}

static void on_late(struct loop_timer *timer)
{
	struct port *port = container_of(timer, struct port, timer);
	struct job_process *job = port->job;

	port_close(port);
	job_check(job);
}

/* The caller is gone: whoever fed on it, or fed it, goes on without. */
static void lose(struct port *port)
{
	struct job_process *job = port->job;

	port_close(port);
	job_disconnected(job);
}

/* Throws away what nobody reads any more, so that closing does not cut off what we sent. */
static void drain(struct port *port)
{
	static uint8_t bytes[16384];
	int left = DRAIN_MOST;
	ssize_t n;

	do
		n = recv(port->socket, bytes, sizeof(bytes), MSG_DONTWAIT);
	while (n > 0 && (port->hung || --left > 0));
	port->eof = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* A vsock whose peer has closed it altogether looks as after a half-close; only sending tells, be
 * it nothing (vsock_connectible_sendmsg() of Linux 6.1 looks before it counts). Once we have said
 * our last, who leaves misses nothing: what they sent is still read to its end. */
static bool is_gone(const struct port *port, uint32_t events)
{
	if (port->shut)
		return port->broken;
	return port->broken || events & (EPOLLHUP | EPOLLERR) ||
	       send(port->socket, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
}

/* Whether somebody still reads what the caller sends. */
static bool feeds(const struct port *port)
{
	return port == &port->job->stdio && port->job->input.fd >= 0;
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	struct port *port = container_of(io, struct port, io);
	struct job_process *job = port->job;

	port->hung |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	if (feeds(port))
		input_move(&job->input);
	else if (events & ~(uint32_t)EPOLLOUT)
		drain(port);
	if (events & EPOLLOUT)
		output_move(port == &job->stdio ? &job->output : &job->errors);
	if (port_is_open(port) && port->hung && is_gone(port, events))
		lose(port);
	port_update(port);
	job_check(job);
}

/* Once the caller has half-closed it, each further change of the connection is told once: its state
 * would wake us over and over. */
void port_update(struct port *port)
{
	struct job_process *job = port->job;
	bool waits = output_waits(port == &job->stdio ? &job->output : &job->errors);
	uint32_t events = EPOLLRDHUP | (port->hung ? EPOLLET : 0) | (waits ? EPOLLOUT : 0);

	if (!port_is_open(port))
		return;
	if (port->broken) {
		lose(port);
		return;
	}
	if (port->shut && port->eof) {
		port_close(port);
		return;
	}
	if (!port->eof && (!feeds(port) || input_wants(&job->input)))
		events |= EPOLLIN;
	(void)loop_io_set(&port->io, events);
}

static int serve(struct port *port)
{
	port->io.fn = on_socket;
	port->timer.fn = on_late;
	return loop_io_add(&port->job->loop, &port->io, port->socket, EPOLLRDHUP);
}

void port_open(struct port *port, int socket)
{
	static const uint8_t welcome = 1;
	struct job_process *job = port->job;

	if (socket < 0) {
		/* The broker has dropped it already. */
		port->number = 0;
		output_update(port == &job->stdio ? &job->output : &job->errors);
		job_disconnected(job);
		return;
	}
	port->socket = socket;
	if (send(socket, &welcome, 1, MSG_NOSIGNAL) != 1 || serve(port) < 0) {
		lose(port);
		return;
	}
	output_update(port == &job->stdio ? &job->output : &job->errors);
	port_update(port);
}

int port_pair(struct port *port, int *ret_end)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	port->socket = pair[0];
	*ret_end = pair[1];
	return serve(port);
}

void port_shut(struct port *port)
{
	if (!port_is_open(port) || port->shut)
		return;
	port->shut = true;
	(void)shutdown(port->socket, SHUT_WR);
}

void port_finish(struct port *port)
{
	if (!port_is_open(port) || !port->shut)
		return;
	if (port->eof || port->broken)
		port_close(port);
	else if (!port->timer.loop)
		loop_timer_set(
			&port->job->loop, &port->timer, monotonic_ns() + SHUT_MS * NSEC_PER_MSEC);
}
