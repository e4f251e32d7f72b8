/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "encode.h"
#include "limits.h"

#define READ_SIZE   4096
#define APPEND_ROOM 4096 /* most frames are smaller */

ssize_t frame_read(struct frame_reader *reader, int fd)
{
	size_t room = buffer_len(&reader->in);
	ssize_t n;
	uint8_t *at;

	/* As much again as has come already: memory follows the bytes, not the length. */
	if (room < READ_SIZE)
		room = READ_SIZE - room;
	at = buffer_reserve(&reader->in, room);
	if (!at)
		return -ENOMEM;
	do
		n = read(fd, at, room);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buffer_commit(&reader->in, (size_t)n);
	reader->arrived_ns = monotonic_ns();
	return n;
}

/* Decodes the length. Returns its bytes, 0 when more are needed, or -EBADMSG. */
static int parse_length(const uint8_t *bytes, size_t have, uint32_t *ret_len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < have && i < FRAME_HEADER_MAX; i++) {
		value |= (uint64_t)(bytes[i] & 0x7f) << (7 * i);
		if (bytes[i] & 0x80)
			continue;
		/* Zero, more than 32 bits, or a needless last byte of zero. */
		if (value == 0 || value > UINT32_MAX || (i > 0 && bytes[i] == 0))
			return -EBADMSG;
		*ret_len = (uint32_t)value;
		return (int)i + 1;
	}
	return have < FRAME_HEADER_MAX ? 0 : -EBADMSG;
}

int frame_next(struct frame_reader *reader, const uint8_t **ret_body, size_t *ret_len)
{
	size_t have = buffer_len(&reader->in);
	uint32_t len;
	int header;

	if (have == 0) {
		buffer_consume(&reader->in, 0);
		return 0;
	}
	header = parse_length(buffer_front(&reader->in), have, &len);
	if (header < 0)
		return header;
	if (header > 0 && len > reader->limit)
		return -EMSGSIZE;
	if (header == 0 || have - (size_t)header < len) {
		/* The clock is looked at only for frames that do not come at once. */
		if (reader->started_ns == 0)
			reader->started_ns = monotonic_ns();
		return 0;
	}
	*ret_body = buffer_front(&reader->in) + header;
	*ret_len = len;
	/* The bytes stay where they are until the next call reads or consumes. */
	reader->in.start += (size_t)header + len;
	reader->started_ns = 0;
	return 1;
}

void frame_reader_done(struct frame_reader *reader)
{
	buffer_clear(&reader->in);
}

size_t frame_header(uint8_t *header, uint32_t len)
{
	size_t n = 0;

	for (; len >= 0x80; len >>= 7)
		header[n++] = (uint8_t)(len | 0x80);
	header[n++] = (uint8_t)len;
	return n;
}

int frame_append(struct buffer *out, const ProtobufCMessage *message, size_t limit)
{
	size_t most;

	if (limit > FRAME_CEILING)
		limit = FRAME_CEILING;
	most = FRAME_HEADER_MAX + limit + ENCODE_SLACK;
	for (size_t room = APPEND_ROOM;; room *= 2) {
		uint8_t *at;
		size_t len, n;

		room = room < most ? room : most;
		at = buffer_reserve(out, room);
		if (!at)
			return -ENOMEM;
		len = encode_before(at + FRAME_HEADER_MAX, at + room, message);
		if (len == ENCODE_NO_ROOM && room < most)
			continue;
		/* An empty message is no frame. */
		if (len > limit || len == 0)
			return -EMSGSIZE;
		n = frame_header(at, (uint32_t)len);
		memmove(at + n, at + room - len, len);
		buffer_commit(out, n + len);
		return 0;
	}
}
