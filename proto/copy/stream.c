/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/copy/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define SEND_AT  (64u << 10) /* records wait for others until so many bytes are together */
#define HELD_MAX (8u << 20)  /* what the other side may say while we only write */

void copy_stream_init(struct copy_stream *stream, int fd)
{
	*stream = (struct copy_stream){.fd = fd, .idle_ms = COPY_IDLE_MS};
	record_reader_init(&stream->in, &postern__v1__copy_record__descriptor, &verify_agent_limits,
		COPY_RECORD_MAX);
}

void copy_stream_done(struct copy_stream *stream)
{
	record_reader_done(&stream->in);
	buffer_clear(&stream->out);
}

/* Until the socket does one of what is waited for. 0 or -errno; -ETIMEDOUT: nothing for too long.
 */
static int wait_idle(const struct copy_stream *stream, struct pollfd *wait)
{
	int n = poll(wait, 1, stream->idle_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n == 0 ? -ETIMEDOUT : 0;
}

/* Waits until the socket takes more, and takes what comes meanwhile. 0 or -errno. */
static int wait_to_write(struct copy_stream *stream)
{
	struct pollfd wait = {.fd = stream->fd, .events = POLLOUT};
	ssize_t n = 1;
	int r;

	if (buffer_len(&stream->in.frames.in) < HELD_MAX)
		wait.events |= POLLIN;
	r = wait_idle(stream, &wait);
	if (r < 0)
		return r;
	if (wait.revents & POLLIN)
		n = frame_read(&stream->in.frames, stream->fd);
	/* Who sends no more may still read; but nobody does that here before the end. */
	return n == 0 ? -EPIPE : n < 0 && n != -EAGAIN ? (int)n : 0;
}

static int write_out(struct copy_stream *stream, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		ssize_t n = send(stream->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r;

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_to_write(stream);
		if (r < 0)
			return r;
	}
	return 0;
}

int copy_flush(struct copy_stream *stream)
{
	size_t len = buffer_len(&stream->out);
	int r = len > 0 ? write_out(stream, buffer_front(&stream->out), len) : 0;

	buffer_consume(&stream->out, len);
	return r;
}

int copy_put(struct copy_stream *stream, Postern__V1__CopyRecord__KindCase kind, void *message)
{
	Postern__V1__CopyRecord record = POSTERN__V1__COPY_RECORD__INIT;
	int r;

	record.kind_case = kind;
	/* All members of the union are pointers to messages. */
	record.plan = message;
	r = frame_append(&stream->out, &record.base, COPY_RECORD_MAX);
	if (r == 0 && buffer_len(&stream->out) >= SEND_AT)
		r = copy_flush(stream);
	return r;
}

int copy_put_data(struct copy_stream *stream, uint64_t offset, const void *bytes, size_t len)
{
	Postern__V1__CopyData data = POSTERN__V1__COPY_DATA__INIT;
	int r;

	data.has_offset = data.has_length = true;
	data.offset = offset;
	data.length = (uint32_t)len;
	r = copy_put(stream, POSTERN__V1__COPY_RECORD__KIND_DATA, &data);
	/* Small files go together with their records. */
	if (r == 0 && len < SEND_AT / 4)
		return buffer_append(&stream->out, bytes, len);
	if (r == 0)
		r = copy_flush(stream);
	return r < 0 ? r : write_out(stream, bytes, len);
}

static int take(struct copy_stream *stream, const Postern__V1__CopyRecord **ret_record)
{
	int r = record_next(&stream->in);

	if (r > 0)
		*ret_record = stream->in.record;
	return r;
}

int copy_get_now(struct copy_stream *stream, const Postern__V1__CopyRecord **ret_record)
{
	int r = take(stream, ret_record);
	ssize_t n;

	if (r != 0)
		return r;
	n = frame_read(&stream->in.frames, stream->fd);
	if (n == -EAGAIN)
		return 0;
	return n == 0 ? -ECONNRESET : n < 0 ? (int)n : take(stream, ret_record);
}

static int wait_to_read(const struct copy_stream *stream)
{
	struct pollfd wait = {.fd = stream->fd, .events = POLLIN};

	return wait_idle(stream, &wait);
}

int copy_get(struct copy_stream *stream, const Postern__V1__CopyRecord **ret_record)
{
	int r = copy_flush(stream);

	for (;;) {
		ssize_t n;

		if (r == 0)
			r = take(stream, ret_record);
		if (r != 0)
			return r;
		n = frame_read(&stream->in.frames, stream->fd);
		if (n == 0)
			return buffer_len(&stream->in.frames.in) > 0 ? -ECONNRESET : 0;
		r = n == -EAGAIN ? wait_to_read(stream) : n < 0 ? (int)n : 0;
	}
}

ssize_t copy_get_data_now(struct copy_stream *stream, void *bytes, size_t room)
{
	size_t held = buffer_len(&stream->in.frames.in);
	ssize_t n;

	if (held > 0) {
		held = held < room ? held : room;
		memcpy(bytes, buffer_front(&stream->in.frames.in), held);
		buffer_consume(&stream->in.frames.in, held);
		return (ssize_t)held;
	}
	do
		n = recv(stream->fd, bytes, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n == 0 ? -ECONNRESET : n < 0 ? -errno : n;
}

ssize_t copy_get_data(struct copy_stream *stream, void *bytes, size_t room)
{
	ssize_t n;

	while ((n = copy_get_data_now(stream, bytes, room)) == -EAGAIN) {
		int r = wait_to_read(stream);

		if (r < 0)
			return r;
	}
	return n;
}

bool copy_name_is_good(const ProtobufCBinaryData *name)
{
	if (name->len == 0 || name->len > NAME_MAX || memchr(name->data, '\0', name->len) ||
		memchr(name->data, '/', name->len))
		return false;
	return !(name->data[0] == '.' &&
		 (name->len == 1 || (name->len == 2 && name->data[1] == '.')));
}
