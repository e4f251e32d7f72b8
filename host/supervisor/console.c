/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "host/supervisor/reader.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/write.h"

#define CLOSE_MS     200 /* for readers, at the end */
#define OLD_NAME_MAX 32

static const char *old_name(const struct console *console, char name[OLD_NAME_MAX])
{
	(void)snprintf(name, OLD_NAME_MAX, "%s.1", console->name);
	return name;
}

static int begin_file(struct console *console)
{
	console->file = fd_close(console->file);
	console->file = openat(console->dir_fd, console->name,
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	console->size = 0;
	return console->file < 0 ? -errno : 0;
}

static void keep_in_ring(struct console *console, const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		size_t at = console->total % CONSOLE_RING, part = CONSOLE_RING - at;

		if (part > len)
			part = len;
		memcpy(console->ring + at, bytes, part);
		console->total += part;
		bytes += part;
		len -= part;
	}
}

static void keep(struct console *console, const uint8_t *bytes, size_t len)
{
	keep_in_ring(console, bytes, len);
	if (console->size + len > CONSOLE_FILE_MAX) {
		char old[OLD_NAME_MAX];

		(void)renameat(
			console->dir_fd, console->name, console->dir_fd, old_name(console, old));
		(void)begin_file(console);
	}
	/* A full disk loses console text; the VM goes on. */
	if (console->file >= 0 && write_all(console->file, bytes, len) == 0)
		console->size += len;
}

const uint8_t *console_look(const struct console *console, uint64_t at, size_t *ret_len)
{
	size_t start = at % CONSOLE_RING, to_end = CONSOLE_RING - start;
	uint64_t there = console->total - at;

	*ret_len = there < to_end ? (size_t)there : to_end;
	return console->ring + start;
}

static void watch(struct console *console)
{
	(void)loop_io_set(
		&console->io, console_takes_input(console) ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

/* The VMM has closed its end, or never had one. */
static void hang_up(struct console *console)
{
	loop_io_del(&console->io);
	console->fd = fd_close(console->fd);
	buffer_clear(&console->input);
}

/* False once there is nothing more, now or for ever. */
static bool take(struct console *console)
{
	uint8_t bytes[8192];
	ssize_t n = read(console->fd, bytes, sizeof(bytes));

	if (n > 0) {
		keep(console, bytes, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		hang_up(console);
	return false;
}

bool console_takes_input(const struct console *console)
{
	return buffer_len(&console->input) == 0;
}

/* What the VMM takes without waiting. 0 or -errno. */
static int send_input(struct console *console)
{
	int r = buffer_send(&console->input, console->fd, NULL);
	ssize_t n;

	if (r != -ENOTSOCK)
		return r;
	/* A terminal. */
	n = write(console->fd, buffer_front(&console->input), buffer_len(&console->input));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	buffer_consume(&console->input, (size_t)n);
	return 0;
}

static void give(struct console *console)
{
	/* Whoever ends the connection ends it for reading, too: take() will see. */
	if (console->fd < 0 || send_input(console) < 0)
		buffer_clear(&console->input);
	watch(console);
}

int console_type(struct console *console, const uint8_t *bytes, size_t len)
{
	int r = buffer_append(&console->input, bytes, len);

	if (r == 0)
		give(console);
	return r;
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct console *console = container_of(io, struct console, io);

	if (events & EPOLLOUT)
		give(console);
	if (events & ~(uint32_t)EPOLLOUT)
		(void)take(console);
	readers_go_on(console);
}

void console_init(struct console *console)
{
	*console = (struct console){.file = -EBADF, .fd = -EBADF};
}

int console_open(struct console *console, struct loop *loop, int dir_fd, const char *name, int fd)
{
	char old[OLD_NAME_MAX];
	int r;

	*console = (struct console){.loop = loop,
		.dir_fd = dir_fd,
		.name = name,
		.file = -EBADF,
		.fd = fd,
		.io.fn = on_io};
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)unlinkat(dir_fd, old_name(console, old), 0);
	r = begin_file(console);
	if (r == 0)
		r = loop_io_add(loop, &console->io, fd, EPOLLIN);
	if (r < 0)
		console_close(console);
	return r;
}

void console_close(struct console *console)
{
	/* At most what a socket holds: a guest cannot keep us here. */
	for (int i = 0; i < 64 && console->fd >= 0 && take(console); i++)
		;
	hang_up(console);
	console->file = fd_close(console->file);
	readers_close(console, CLOSE_MS);
}

json_t *console_last_lines(const struct console *console, size_t most)
{
	char text[CONSOLE_TAIL] = "", escaped[512];
	uint64_t start = console->total > CONSOLE_TAIL ? console->total - CONSOLE_TAIL : 0;
	size_t len = 0, at;
	json_t *lines = json_array();

	for (uint64_t i = start; i < console->total; i++)
		if (console->ring[i % CONSOLE_RING] != '\r')
			text[len++] = (char)console->ring[i % CONSOLE_RING];
	while (len > 0 && text[len - 1] == '\n')
		len--;
	for (at = len; at > 0 && most > 0; at--)
		if (text[at - 1] == '\n' && --most == 0)
			break;
	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line = end ? (size_t)(end - text) - at : len - at;

		(void)postern_escape(text + at, line, escaped, sizeof(escaped));
		(void)json_array_append_new(lines, json_string(escaped));
		at += line + 1;
	}
	return lines;
}
