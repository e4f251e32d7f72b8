/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/log_stream.h"

#include <errno.h>

#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/verify.h"

void log_stream_init(struct log_stream *stream, int fd)
{
	*stream = (struct log_stream){.fd = fd, .reader.limit = LOG_RECORD_MAX};
	arena_init(&stream->arena, ARENA_REQUEST_MAX);
}

void log_stream_done(struct log_stream *stream)
{
	stream->fd = fd_close(stream->fd);
	frame_reader_done(&stream->reader);
	arena_done(&stream->arena);
}

/* 1, 0 or -EBADMSG. */
static int take(struct log_stream *stream, struct log_record *ret)
{
	const char *why;
	int r = frame_next(&stream->reader, &ret->body, &ret->len);

	if (r <= 0)
		return r < 0 ? -EBADMSG : 0;
	arena_reset(&stream->arena);
	ret->record =
		(const Postern__V1__LogRecord *)verify_unpack(&postern__v1__log_record__descriptor,
			ret->body, ret->len, &verify_host_limits, &stream->arena, &why);
	if (!ret->record || ret->record->kind_case == POSTERN__V1__LOG_RECORD__KIND__NOT_SET)
		return -EBADMSG;
	return 1;
}

int log_stream_next(struct log_stream *stream, struct log_record *ret)
{
	for (;;) {
		int r = take(stream, ret);
		ssize_t n;

		if (r != 0)
			return r;
		n = frame_read(&stream->reader, stream->fd);
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n == 0 ? -ECONNRESET : (int)n;
	}
}
