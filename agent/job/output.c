/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/job/job.h"
#include "proto/cleanup.h"

static bool is_empty(const struct piece *piece)
{
	return piece->at == piece->end;
}

/* The program, and who inherited from it, have closed it; or nobody will read it. */
static void end(struct output *output)
{
	loop_io_del(&output->io);
	output->fd = fd_close(output->fd);
}

bool output_waits(const struct output *output)
{
	return !output->only_spool && port_is_open(output->port) && !output->port->shut &&
	       (!is_empty(&output->piece) || output->replaying);
}

uint64_t output_left(const struct output *output)
{
	int n = 0;

	if (output->fd < 0 || ioctl(output->fd, FIONREAD, &n) < 0 || n < 0)
		return 0;
	return (uint64_t)n;
}

/* More of the program's bytes. False when there are none now. */
static bool take(struct output *output)
{
	struct piece *piece = &output->piece;
	ssize_t n = read(output->fd, piece->bytes, PIECE_SIZE);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	/* A terminal that nobody has open any more says EIO (tty_ioctl(4)). */
	if (n <= 0) {
		end(output);
		return false;
	}
	piece->at = 0;
	piece->end = (size_t)n;
	spool_add(&output->spool, piece->bytes, (size_t)n);
	return true;
}

/* More of what the spool has for somebody who came late. */
static bool take_replay(struct output *output)
{
	struct piece *piece = &output->piece;

	piece->at = 0;
	piece->end = spool_read(&output->spool, output->replayed_to, piece->bytes, PIECE_SIZE);
	output->replayed_to += piece->end;
	output->replaying = piece->end > 0;
	return output->replaying;
}

/* False when the port takes no more for now. */
static bool give(struct output *output)
{
	struct piece *piece = &output->piece;
	struct port *port = output->port;
	ssize_t n;

	if (output->only_spool || !port_is_open(port) || port->shut) {
		piece->at = piece->end;
		return true;
	}
	n = send(port->socket, piece->bytes + piece->at, piece->end - piece->at,
		MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		port->broken = true;
		piece->at = piece->end;
		return true;
	}
	if (n < 0)
		return false;
	piece->at += (size_t)n;
	port->to_caller += (uint64_t)n;
	port_count(port);
	return is_empty(piece);
}

/* Somebody who may come within seconds gets all of it: until then the program waits. */
static bool may_read(const struct output *output)
{
	return output->fd >= 0 && !output->replaying &&
	       (output->only_spool || port_is_open(output->port) || !port_is_used(output->port));
}

static void on_readable(struct loop_io *io, uint32_t events)
{
	struct output *output = container_of(io, struct output, io);
	struct job_process *job = output->job;

	(void)events;
	output_move(output);
	job_check(job);
}

/* One piece at a time, so that nobody is kept waiting by one who writes without end. */
void output_move(struct output *output)
{
	while (output->replaying && (is_empty(&output->piece) || give(output)))
		if (!take_replay(output))
			break;
	if (is_empty(&output->piece) && may_read(output))
		(void)take(output);
	if (!is_empty(&output->piece))
		(void)give(output);
	output_update(output);
}

void output_update(struct output *output)
{
	bool wanted;

	/* Nobody is there, nor may come: what was on its way to them must not hold up the program.
	 */
	if (!port_is_used(output->port)) {
		output->piece.at = output->piece.end;
		output->replaying = false;
	}
	wanted = may_read(output) && is_empty(&output->piece);

	if (output->fd >= 0) {
		output->io.fn = on_readable;
		if (!wanted)
			loop_io_del(&output->io);
		else if (!output->io.loop)
			(void)loop_io_add(&output->job->loop, &output->io, output->fd, EPOLLIN);
	}
	if (output->fd < 0 && is_empty(&output->piece) && !output->replaying)
		port_shut(output->port);
	port_update(output->port);
}

void output_replay(struct output *output, uint64_t from)
{
	output->piece.at = output->piece.end = 0;
	output->only_spool = false;
	output->replayed_to = from;
	output->replaying = from < output->spool.total;
}

void output_end(struct output *output)
{
	end(output);
}

void output_done(struct output *output)
{
	end(output);
	spool_done(&output->spool);
}
