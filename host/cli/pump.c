/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/pump.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/cli/terminal.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/clock.h"
#include "proto/write.h"

#define BUFFER_SIZE (64 << 10)

/* One direction: what was read and not written yet. */
struct flow {
	int from, to;
	size_t at, end; /* in bytes */
	size_t most;    /* that a write takes at once without waiting */
	bool ended;     /* nothing more comes */
	uint64_t *count;
	uint8_t bytes[BUFFER_SIZE + 1]; /* one for a tilde that was held back */
};

struct run {
	struct pump *pump;
	int socket;
	struct flow up, down;
	bool shut;          /* the end of the input was passed on */
	bool gone;          /* the other side reads no more */
	bool left;          /* the user has asked for the end */
	uint64_t last_came; /* CLOCK_MONOTONIC ns */
};

/* Standard output is somebody else's too, so it is not made non-blocking: a pipe that poll() calls
 * writable takes so many bytes without waiting (pipe(7)). */
static size_t most_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? BUFFER_SIZE : PIPE_BUF;
}

static bool is_empty(const struct flow *flow)
{
	return flow->at == flow->end;
}

/* 0, or -errno. */
static int take(struct flow *flow)
{
	ssize_t n = read(flow->from, flow->bytes, sizeof(flow->bytes));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return -errno;
	flow->ended = n == 0;
	flow->at = 0;
	flow->end = (size_t)n;
	return 0;
}

static int give(struct flow *flow)
{
	size_t len = flow->end - flow->at;
	ssize_t n = write(flow->to, flow->bytes + flow->at, len < flow->most ? len : flow->most);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	flow->at += (size_t)n;
	*flow->count += (uint64_t)n;
	return 0;
}

static struct pollfd want(int fd, bool wanted, short events)
{
	return (struct pollfd){.fd = wanted ? fd : -1, .events = events};
}

/* What was typed becomes what is the guest's. */
static void filter(struct run *run)
{
	static uint8_t typed[BUFFER_SIZE];
	size_t len = run->up.end;
	enum escape_wish wish;

	memcpy(typed, run->up.bytes, len);
	wish = escape_take(run->pump->escape, typed, len, run->up.bytes, &run->up.end);
	if (wish == ESCAPE_HELP)
		(void)write_all(STDOUT_FILENO, ESCAPE_HELP_TEXT, strlen(ESCAPE_HELP_TEXT));
	run->left = wish == ESCAPE_LEAVE;
}

static int go_up(struct run *run, const struct pollfd *from, const struct pollfd *to)
{
	struct flow *up = &run->up;
	int r = 0;

	if (is_empty(up) && !up->ended && from->revents) {
		r = take(up);
		if (r == 0 && run->pump->escape)
			filter(run);
	}
	if (r == 0 && !is_empty(up) && (to->revents || up->most == BUFFER_SIZE))
		r = give(up);
	/* Who listens no more may still have said something. */
	if (r == -EPIPE || r == -ECONNRESET) {
		up->ended = run->shut = true;
		up->at = up->end;
		r = 0;
	}
	if (up->ended && is_empty(up) && !run->shut) {
		run->shut = true;
		run->last_came = monotonic_ns();
		(void)shutdown(run->socket, SHUT_WR);
	}
	return r;
}

static int go_down(struct run *run, const struct pollfd *from, const struct pollfd *to)
{
	struct flow *down = &run->down;
	int r = 0;

	if (is_empty(down) && !down->ended && from->revents) {
		r = take(down);
		run->last_came = monotonic_ns();
		if (r == 0 && run->pump->log && !run->pump->log_error &&
			fwrite(down->bytes, 1, down->end, run->pump->log) != down->end)
			run->pump->log_error = errno;
	}
	if (r == 0 && !is_empty(down) && (to->revents || down->most == BUFFER_SIZE))
		r = give(down);
	return r;
}

/* When it is over although nobody has ended it; UINT64_MAX: never. */
static uint64_t end_of_quiet(const struct run *run)
{
	const struct pump *pump = run->pump;

	if (!run->shut || pump->read_only || pump->linger_ms == 0)
		return UINT64_MAX;
	return run->last_came + pump->linger_ms * NSEC_PER_MSEC;
}

static bool is_over(const struct run *run)
{
	if (run->left)
		return true;
	if (!is_empty(&run->down))
		return false;
	/* Who has said its last may still listen, unless it is gone altogether. */
	return (run->down.ended && (run->shut || run->gone)) || monotonic_ns() >= end_of_quiet(run);
}

static int turn(struct run *run)
{
	const struct flow *up = &run->up, *down = &run->down;
	uint64_t until = end_of_quiet(run);
	struct pollfd fds[] = {want(STDIN_FILENO, is_empty(up) && !up->ended, POLLIN),
		want(run->socket, !is_empty(up), POLLOUT),
		want(run->socket, is_empty(down) && !down->ended, POLLIN),
		want(STDOUT_FILENO, !is_empty(down), POLLOUT), want(run->socket, down->ended, 0)};
	int r;

	if (poll(fds, 5, until == UINT64_MAX ? -1 : ms_until(until)) < 0)
		return errno == EINTR ? 0 : -errno;
	run->gone = fds[4].revents & (POLLHUP | POLLERR);
	r = go_up(run, &fds[0], &fds[1]);
	return r < 0 ? r : go_down(run, &fds[2], &fds[3]);
}

int pump_run(struct pump *pump, int socket)
{
	static struct run run; /* too large for a stack */
	int r = 0;

	run = (struct run){.pump = pump,
		.socket = socket,
		.up = {.from = STDIN_FILENO,
			.to = socket,
			.most = BUFFER_SIZE,
			.ended = pump->read_only,
			.count = &pump->sent},
		.down = {.from = socket,
			.to = STDOUT_FILENO,
			.most = most_of(STDOUT_FILENO),
			.count = &pump->received}};
	(void)signal(SIGPIPE, SIG_IGN);
	while (r == 0 && !is_over(&run))
		r = turn(&run);
	return r == -ECONNRESET ? 0 : r;
}

int pump_stdio(const struct cli *cli, struct pump *pump, int socket, const char *words)
{
	struct postern_error error = {0};
	AUTO_JSON json_t *counts = NULL;
	int r = pump_run(pump, socket);

	terminal_restore();
	if (pump->escape)
		(void)fputc('\n', stderr); /* the guest may have left it anywhere */
	/* Whoever read our output has had enough. */
	if (r < 0 && r != -EPIPE) {
		(void)fail_errno(&error, POSTERN_ANSWERED, -r, "standard input or output");
		return cli_fail(cli, &error);
	}
	if (!cli->json) {
		(void)fprintf(stderr, "%s\n", words);
		return POSTERN_DONE;
	}
	counts = json_pack("{s:I, s:I}", "sent", (json_int_t)pump->sent, "received",
		(json_int_t)pump->received);
	(void)json_dumpf(counts, stderr, JSON_COMPACT);
	(void)fputc('\n', stderr);
	return POSTERN_DONE;
}
