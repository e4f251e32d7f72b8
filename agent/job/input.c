/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/job/job.h"
#include "proto/cleanup.h"

#define PIECES_MOST         16 /* in one turn, of a caller that sends without pause */
#define END_OF_TRANSMISSION 4  /* what a terminal in its usual mode takes for the end of a file */

static bool is_empty(const struct piece *piece)
{
	return piece->at == piece->end;
}

void input_close(struct input *input)
{
	loop_io_del(&input->io);
	input->fd = fd_close(input->fd);
	input->piece.at = input->piece.end = 0;
}

bool input_wants(const struct input *input)
{
	return port_is_open(input->port) && !input->port->eof && is_empty(&input->piece);
}

/* The caller's bytes, or its end. */
static void take(struct input *input)
{
	struct port *port = input->port;
	ssize_t n = recv(port->socket, input->piece.bytes, PIECE_SIZE, MSG_DONTWAIT);

	if (n < 0) {
		/* A broken connection is noticed by the port. */
		port->eof = errno != EAGAIN && errno != EINTR;
		return;
	}
	input->piece.at = 0;
	input->piece.end = (size_t)n;
	port->from_caller += (uint64_t)n;
	port->eof = n == 0;
	/* A terminal has no end of its own: the program is told as by a key. */
	if (port->eof && input->job->master >= 0) {
		/* The first one only ends a line that was begun (termios(3), VEOF). */
		input->piece.bytes[0] = input->piece.bytes[1] = END_OF_TRANSMISSION;
		input->piece.end = input->last == '\n' || input->last == 0 ? 1 : 2;
	}
	port_count(port);
}

/* What the program takes; the rest waits. */
static void give(struct input *input)
{
	struct piece *piece = &input->piece;
	ssize_t n;

	if (input->fd < 0) {
		/* Nobody reads it. */
		piece->at = piece->end;
		return;
	}
	n = write(input->fd, piece->bytes + piece->at, piece->end - piece->at);
	if (n > 0) {
		piece->at += (size_t)n;
		input->last = piece->bytes[piece->at - 1];
	} else if (n < 0 && errno != EAGAIN && errno != EINTR)
		input_close(input);
}

static void on_writable(struct loop_io *io, uint32_t events)
{
	struct input *input = container_of(io, struct input, io);
	struct job_process *job = input->job;

	if (events & EPOLLERR && is_empty(&input->piece))
		input_close(input);
	else
		input_move(input);
	port_update(input->port);
	job_check(job);
}

void input_move(struct input *input)
{
	bool more = true;

	for (int left = PIECES_MOST; more && (left > 0 || input->port->hung); left--) {
		if (is_empty(&input->piece) && input_wants(input))
			take(input);
		if (is_empty(&input->piece))
			break;
		/* The loop wakes us for what is left, unless it tells changes only. */
		more = input->piece.end == PIECE_SIZE || input->port->hung;
		give(input);
		if (!is_empty(&input->piece))
			break;
	}
	if (input->fd >= 0 && is_empty(&input->piece) && input->port->eof && input->job->master < 0)
		input_close(input);
	if (input->fd < 0)
		return;
	if (is_empty(&input->piece)) {
		loop_io_del(&input->io);
	} else if (!input->io.loop) {
		input->io.fn = on_writable;
		(void)loop_io_add(&input->job->loop, &input->io, input->fd, EPOLLOUT);
	}
}
