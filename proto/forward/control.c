/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/forward/control.h"

#include <errno.h>
#include <sys/epoll.h>

#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/verify.h"

#define RECORD_MAX 256
#define OUT_MAX    (64u << 10) /* of who does not read */

void forward_control_stop(struct forward_control *control)
{
	loop_io_del(&control->io);
	frame_reader_done(&control->reader);
	buffer_clear(&control->out);
	arena_done(&control->arena);
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
	const Postern__V1__ForwardRecord *record;
	const uint8_t *body;
	const char *why;
	size_t len;
	int r = frame_next(&control->reader, &body, &len);

	if (r <= 0)
		return r < 0 ? -EBADMSG : 0;
	arena_reset(&control->arena);
	record = (const Postern__V1__ForwardRecord *)verify_unpack(
		&postern__v1__forward_record__descriptor, body, len, &verify_agent_limits,
		&control->arena, &why);
	if (!record || record->kind_case == POSTERN__V1__FORWARD_RECORD__KIND__NOT_SET)
		return -EBADMSG;
	r = control->take(control, record);
	return r < 0 ? r : 1;
}

static void on_socket(struct loop_io *io, uint32_t events)
{
	struct forward_control *control = container_of(io, struct forward_control, io);
	ssize_t n = -EAGAIN;
	int r = 0;

	if (events & ~(uint32_t)EPOLLOUT) {
		n = frame_read(&control->reader, control->fd);
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
	control->reader = (struct frame_reader){.limit = RECORD_MAX};
	arena_init(&control->arena, ARENA_REQUEST_MAX);
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
