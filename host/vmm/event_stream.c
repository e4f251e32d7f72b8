/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/event_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "host/common/json_line.h"
#include "proto/cleanup.h"

#define READ_SIZE 16384

/* True once the object that the buffer begins with is whole: scanned is its length. */
static bool object_is_whole(struct event_stream *stream)
{
	const char *text = (const char *)buffer_front(&stream->in);

	while (stream->scanned < buffer_len(&stream->in)) {
		char c = text[stream->scanned++];

		if (stream->escaped)
			stream->escaped = false;
		else if (stream->in_string && c == '\\')
			stream->escaped = true;
		else if (c == '"')
			stream->in_string = !stream->in_string;
		else if (!stream->in_string && (c == '{' || c == '['))
			stream->depth++;
		else if (!stream->in_string && (c == '}' || c == ']') && --stream->depth == 0)
			return true;
	}
	return false;
}

static void skip_blanks(struct buffer *in)
{
	static const char blanks[] = " \t\r\n";

	while (buffer_len(in) > 0 && memchr(blanks, *buffer_front(in), sizeof(blanks) - 1))
		buffer_consume(in, 1);
}

/* 1 and the next object; 0: none is whole yet; -EBADMSG. */
static int next(struct event_stream *stream, json_t **ret_event)
{
	size_t len;

	if (stream->scanned == 0)
		skip_blanks(&stream->in);
	if (buffer_len(&stream->in) == 0)
		return 0;
	if (*buffer_front(&stream->in) != '{')
		return -EBADMSG;
	if (!object_is_whole(stream))
		return stream->scanned > EVENT_MAX ? -EBADMSG : 0;
	len = stream->scanned;
	stream->scanned = 0;
	*ret_event =
		len > EVENT_MAX ? NULL : json_text_parse((char *)buffer_front(&stream->in), len);
	buffer_consume(&stream->in, len);
	return json_is_object(*ret_event) ? 1 : -EBADMSG;
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct event_stream *stream = container_of(io, struct event_stream, io);
	uint8_t *at = buffer_reserve(&stream->in, READ_SIZE);
	json_t *event;
	ssize_t n;
	int r;

	(void)events;
	n = at ? read(stream->fd, at, READ_SIZE) : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		event_stream_close(stream);
		return;
	}
	buffer_commit(&stream->in, (size_t)n);
	while ((r = next(stream, &event)) > 0) {
		stream->on_event(stream->ctx, event);
		json_decref(event);
	}
	if (r < 0) {
		event_stream_close(stream);
		stream->on_broken(stream->ctx);
	}
}

int event_stream_open(struct event_stream *stream, struct loop *loop, int fd)
{
	int r;

	stream->fd = fd;
	stream->io.fn = on_io;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	else
		r = loop_io_add(loop, &stream->io, fd, EPOLLIN);
	if (r < 0)
		event_stream_close(stream);
	return r;
}

void event_stream_close(struct event_stream *stream)
{
	if (!stream->io.fn)
		return;
	loop_io_del(&stream->io);
	stream->io.fn = NULL;
	stream->fd = fd_close(stream->fd);
	buffer_clear(&stream->in);
}
