/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

static void reader_close(struct console_reader *reader)
{
	struct console_reader **link = &reader->console->readers;

	while (*link != reader)
		link = &(*link)->next;
	*link = reader->next;
	reader->console->n_readers--;
	loop_io_del(&reader->io);
	(void)fd_close(reader->fd);
	free(reader);
}

static bool is_behind(const struct console_reader *reader)
{
	return reader->note_len > 0 || reader->at < reader->console->total;
}

/* It was overtaken: half of the ring is room to stay ahead in. */
static void skip(struct console_reader *reader)
{
	uint64_t to = reader->console->total - CONSOLE_RING / 2;

	reader->note_len = (size_t)snprintf(reader->note, sizeof(reader->note),
		"\r\n[postern: %" PRIu64 " bytes of the console were lost here]\r\n",
		to - reader->at);
	reader->note_at = 0;
	reader->at = to;
}

/* What is to be sent next. */
static const uint8_t *next_bytes(struct console_reader *reader, size_t *ret_len)
{
	if (reader->note_len == 0 && reader->console->total - reader->at > CONSOLE_RING)
		skip(reader);
	if (reader->note_len > 0) {
		*ret_len = reader->note_len - reader->note_at;
		return (const uint8_t *)reader->note + reader->note_at;
	}
	return console_look(reader->console, reader->at, ret_len);
}

static void sent(struct console_reader *reader, size_t n)
{
	if (reader->note_len == 0) {
		reader->at += n;
		return;
	}
	reader->note_at += n;
	if (reader->note_at == reader->note_len)
		reader->note_len = 0;
}

/* 0, or -errno where nobody is there any more. */
static int give(struct console_reader *reader)
{
	while (is_behind(reader)) {
		size_t len;
		const uint8_t *bytes = next_bytes(reader, &len);
		ssize_t n = send(reader->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			sent(reader, (size_t)n);
	}
	return 0;
}

static void watch(struct console_reader *reader)
{
	uint32_t events = is_behind(reader) ? EPOLLOUT : 0;

	if (!reader->input_ended && console_takes_input(reader->console))
		events |= EPOLLIN;
	(void)loop_io_set(&reader->io, events);
}

void readers_go_on(struct console *console)
{
	struct console_reader *next;

	for (struct console_reader *reader = console->readers; reader; reader = next) {
		next = reader->next;
		if (give(reader) < 0)
			reader_close(reader);
		else
			watch(reader);
	}
}

/* One piece; the others come before its next one. */
static int take(struct console_reader *reader)
{
	uint8_t bytes[CONSOLE_PIECE];
	ssize_t n = recv(reader->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	reader->input_ended = n == 0;
	return n > 0 ? console_type(reader->console, bytes, (size_t)n) : 0;
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct console_reader *reader = container_of(io, struct console_reader, io);
	struct console *console = reader->console;
	int r = 0;

	if ((events & EPOLLIN) && !reader->input_ended && console_takes_input(console))
		r = take(reader);
	else if (events & (EPOLLHUP | EPOLLERR))
		r = -EPIPE;
	if (r < 0)
		reader_close(reader);
	readers_go_on(console);
}

/* Behind the end of the first line that is not whole any more. */
static uint64_t first_line(const struct console *console)
{
	uint64_t at = console->total - CONSOLE_RING;

	while (at < console->total) {
		size_t len;
		const uint8_t *bytes = console_look(console, at, &len);
		const uint8_t *end = memchr(bytes, '\n', len);

		if (end)
			return at + (uint64_t)(end - bytes) + 1;
		at += len;
	}
	return console->total - CONSOLE_RING;
}

int reader_add(struct console *console, int fd, bool scrollback)
{
	AUTO_CLOSE int owned = fd;
	struct console_reader *reader;
	int r;

	if (console->n_readers >= CONSOLE_READERS)
		return -EUSERS;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->console = console;
	reader->io.fn = on_io;
	r = loop_io_add(console->loop, &reader->io, fd, 0);
	if (r < 0) {
		free(reader);
		return r;
	}
	if (!scrollback)
		reader->at = console->total;
	else if (console->total > CONSOLE_RING)
		reader->at = first_line(console);
	reader->fd = take_fd(&owned);
	reader->next = console->readers;
	console->readers = reader;
	console->n_readers++;
	readers_go_on(console);
	return 0;
}

void readers_close(struct console *console, int timeout_ms)
{
	uint64_t until = monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;

	for (struct console_reader *reader = console->readers, *next; reader; reader = next) {
		struct pollfd poll_fd = {.fd = reader->fd, .events = POLLOUT};

		while (give(reader) == 0 && is_behind(reader) &&
			poll(&poll_fd, 1, ms_until(until)) > 0)
			;
		next = reader->next;
		reader_close(reader);
	}
}
