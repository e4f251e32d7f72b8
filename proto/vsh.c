/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vsh.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "encode.h"

const struct verify_limits vsh_limits = {
	.elements = VSH_FRAME_MAX, .elements_total = VSH_FRAME_MAX, .unknown_enums = true};

ssize_t vsh_read(struct vsh_reader *reader, int socket)
{
	ssize_t n;

	memmove(reader->bytes, reader->bytes + reader->at, reader->end - reader->at);
	reader->end -= reader->at;
	reader->at = 0;
	n = recv(socket, reader->bytes + reader->end, sizeof(reader->bytes) - reader->end,
		MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	reader->end += (size_t)n;
	return n;
}

int vsh_next(struct vsh_reader *reader, const uint8_t **ret_body, size_t *ret_len)
{
	const uint8_t *at = reader->bytes + reader->at;
	size_t have = reader->end - reader->at;
	uint32_t len;

	if (have < VSH_HEADER)
		return 0;
	len = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
	if (len > VSH_FRAME_MAX)
		return -EMSGSIZE;
	if (have < VSH_HEADER + len)
		return 0;
	*ret_body = at + VSH_HEADER;
	*ret_len = len;
	reader->at += VSH_HEADER + len;
	return 1;
}

int vsh_append(struct buffer *out, const ProtobufCMessage *message)
{
	uint8_t bytes[VSH_HEADER + VSH_FRAME_MAX + ENCODE_SLACK], *end = bytes + sizeof(bytes);
	size_t len = encode_before(bytes, end, message);
	uint8_t *frame = end - len - VSH_HEADER;

	if (len == ENCODE_NO_ROOM || len > VSH_FRAME_MAX)
		return -EMSGSIZE;
	for (int i = 0; i < VSH_HEADER; i++)
		frame[i] = (uint8_t)(len >> 8 * i);
	return buffer_append(out, frame, VSH_HEADER + len);
}
