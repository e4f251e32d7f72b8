/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/write.h"

static int begin_file(struct console *console)
{
	console->file = fd_close(console->file);
	console->file = openat(console->dir_fd, CONSOLE_FILE,
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	console->size = 0;
	return console->file < 0 ? -errno : 0;
}

static void keep(struct console *console, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		console->tail[console->total++ % CONSOLE_TAIL] = text[i];
	if (console->size + len > CONSOLE_FILE_MAX) {
		(void)renameat(console->dir_fd, CONSOLE_FILE, console->dir_fd, CONSOLE_OLD_FILE);
		(void)begin_file(console);
	}
	/* A full disk loses console text; the VM goes on. */
	if (console->file >= 0 && write_all(console->file, text, len) == 0)
		console->size += len;
}

/* False once there is nothing more, now or for ever. */
static bool take(struct console *console)
{
	char text[8192];
	ssize_t n = read(console->fd, text, sizeof(text));

	if (n > 0) {
		keep(console, text, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		loop_io_del(&console->io);
	return false;
}

static void on_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	(void)take(container_of(io, struct console, io));
}

int console_open(struct console *console, struct loop *loop, int dir_fd, int fd)
{
	int r;

	*console = (struct console){.dir_fd = dir_fd, .file = -EBADF, .fd = fd, .io.fn = on_io};
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)unlinkat(dir_fd, CONSOLE_OLD_FILE, 0);
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
	loop_io_del(&console->io);
	console->fd = fd_close(console->fd);
	console->file = fd_close(console->file);
}

json_t *console_last_lines(const struct console *console, size_t most)
{
	char text[CONSOLE_TAIL] = "", escaped[512];
	uint64_t start = console->total > CONSOLE_TAIL ? console->total - CONSOLE_TAIL : 0;
	size_t len = 0, at;
	json_t *lines = json_array();

	for (uint64_t i = start; i < console->total; i++)
		if (console->tail[i % CONSOLE_TAIL] != '\r')
			text[len++] = console->tail[i % CONSOLE_TAIL];
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
