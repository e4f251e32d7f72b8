/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A byte queue: written at the end, read at the front, one allocation that grows by doubling. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *data; /* owned */
	size_t start;  /* first byte not consumed yet */
	size_t end;
	size_t size;
};

static inline size_t buffer_len(const struct buffer *buffer)
{
	return buffer->end - buffer->start;
}

static inline uint8_t *buffer_front(const struct buffer *buffer)
{
	return buffer->data + buffer->start;
}

/* Makes room for n more bytes and returns where they go, or NULL on ENOMEM. What is written there
 * counts only after buffer_commit(). The pointer holds until the next call. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t n);

/* Takes n bytes that were written at the end. */
void buffer_commit(struct buffer *buffer, size_t n);

/* 0 or -ENOMEM. */
int buffer_append(struct buffer *buffer, const void *data, size_t n);

/* Drops n bytes from the front. An emptied buffer larger than 64 KiB gives its memory back. */
void buffer_consume(struct buffer *buffer, size_t n);

/* Sends from the front what the socket takes without waiting, all of it at best. *ret_sent (NULL:
 * not wanted) is the number of bytes taken, also with an error. 0, or -errno when the socket is
 * broken. */
int buffer_send(struct buffer *buffer, int socket, size_t *ret_sent);

/* Frees the memory; the buffer can be used again. */
void buffer_clear(struct buffer *buffer);
