/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FIRST_SIZE 4096
#define KEEP_SIZE  65536

uint8_t *buffer_reserve(struct buffer *buffer, size_t n)
{
	size_t len = buffer_len(buffer), size;
	uint8_t *data;

	if (buffer->size - buffer->end >= n)
		return buffer->data + buffer->end;
	if (buffer->size - len >= n && len <= buffer->size / 2) {
		memmove(buffer->data, buffer_front(buffer), len);
		buffer->start = 0;
		buffer->end = len;
		return buffer->data + len;
	}
	size = buffer->size ? buffer->size : FIRST_SIZE;
	while (size - len < n) {
		if (size > SIZE_MAX / 2)
			return NULL;
		size *= 2;
	}
	data = malloc(size);
	if (!data)
		return NULL;
	if (len > 0)
		memcpy(data, buffer_front(buffer), len);
	free(buffer->data);
	*buffer = (struct buffer){.data = data, .end = len, .size = size};
	return data + len;
}

void buffer_commit(struct buffer *buffer, size_t n)
{
	buffer->end += n;
}

int buffer_append(struct buffer *buffer, const void *data, size_t n)
{
	uint8_t *at;

	/* An empty buffer has no place to point at. */
	if (n == 0)
		return 0;
	at = buffer_reserve(buffer, n);
	if (!at)
		return -ENOMEM;
	memcpy(at, data, n);
	buffer_commit(buffer, n);
	return 0;
}

void buffer_consume(struct buffer *buffer, size_t n)
{
	buffer->start += n;
	if (buffer->start < buffer->end)
		return;
	buffer->start = buffer->end = 0;
	if (buffer->size > KEEP_SIZE)
		buffer_clear(buffer);
}

int buffer_send(struct buffer *buffer, int socket, size_t *ret_sent)
{
	size_t sent = 0;
	int r = 0;

	while (buffer_len(buffer) > 0 && r == 0) {
		ssize_t n = send(socket, buffer_front(buffer), buffer_len(buffer),
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			buffer_consume(buffer, (size_t)n);
			sent += (size_t)n;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			r = -errno;
		}
	}
	if (ret_sent)
		*ret_sent = sent;
	return r;
}

void buffer_clear(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){0};
}
