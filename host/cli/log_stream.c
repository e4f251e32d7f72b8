/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/log_stream.h"

#include <errno.h>

#include "proto/cleanup.h"
#include "proto/limits.h"

void log_stream_init(struct log_stream *stream, int fd)
{
	*stream = (struct log_stream){.fd = fd};
	record_reader_init(&stream->in, &postern__v1__log_record__descriptor, &verify_host_limits,
		LOG_RECORD_MAX);
}

void log_stream_done(struct log_stream *stream)
{
	stream->fd = fd_close(stream->fd);
	record_reader_done(&stream->in);
}

int log_stream_next(struct log_stream *stream, struct log_record *ret)
{
	for (;;) {
		int r = record_next(&stream->in);
		ssize_t n;

		if (r > 0)
			*ret = (struct log_record){
				stream->in.record, stream->in.body, stream->in.len};
		if (r != 0)
			return r;
		n = frame_read(&stream->in.frames, stream->fd);
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n == 0 ? -ECONNRESET : (int)n;
	}
}
