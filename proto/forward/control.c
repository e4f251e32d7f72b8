/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/forward/control.h"

#include <errno.h>
#include <sys/epoll.h>

#include "proto/cleanup.h"

#define RECORD_MAX 256
#define OUT_MAX    (64u << 10) /* of who does not read */

void forward_control_stop(struct forward_control *control)
{
	loop_io_del(&control->io);
	record_reader_done(&control->in);
	buffer_clear(&control->out);
}

static void finish(struct forward_control *control, int r)
{
	forward_control_stop(control);
	control->ended(control, r);
}

static int flush(struct forward_control *control)
{
	int r = buffer_send(&control->out, control->fd, NULL);

	if (r < 0)
		return r;
	return loop_io_set(
		&control->io, EPOLLIN | (buffer_len(&control->out) > 0 ? (uint32_t)EPOLLOUT : 0));
}

/* 1, 0 when there is no whole one yet, or -errno. */
static int take_record(struct forward_control *control)
{
	int r = record_next(&control->in);
	int taken = r > 0 ? control->take(control, control->in.record) : 0;

	return taken < 0 ? taken : r;
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	struct forward_control *control = container_of(io, struct forward_control, io);
	ssize_t n = -EAGAIN;
	int r = 0;

	if (events & ~(uint32_t)EPOLLOUT) {
		n = frame_read(&control->in.frames, control->fd);
		if (n < 0 && n != -EAGAIN)
			r = (int)n;
		while (r == 0 && (r = take_record(control)) > 0)
			r = 0;
	}
	if (r == 0 && n != 0)
		r = flush(control);
	if (r < 0 || n == 0)
		finish(control, r);
}

int forward_control_start(struct forward_control *control, struct loop *loop, int fd)
{
	control->fd = fd;
	control->io.fn = on_socket;
	record_reader_init(&control->in, &postern__v1__forward_record__descriptor,
		&verify_agent_limits, RECORD_MAX);
	return loop_io_add(loop, &control->io, fd, EPOLLIN);
}

int forward_control_say(struct forward_control *control, const Postern__V1__ForwardRecord *record)
{
	int r;

	if (buffer_len(&control->out) > OUT_MAX)
		return -ENOBUFS;
	r = frame_append(&control->out, &record->base, RECORD_MAX);
	return r < 0 ? r : flush(control);
}
