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

#include "host/common/fail.h"
#include "host/common/json_line.h"

#define BUFFER_SIZE (64 << 10)

/* One direction: what was read and not written yet. */
struct flow {
	int from, to;
	size_t at, end; /* in bytes */
	size_t most;    /* that a write takes at once without waiting */
	bool ended;     /* nothing more comes */
	uint64_t *count;
	uint8_t bytes[BUFFER_SIZE];
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

static int move(struct flow *flow, const struct pollfd *from, const struct pollfd *to)
{
	int r = 0;

	if (is_empty(flow) && !flow->ended && from->revents)
		r = take(flow);
	if (r == 0 && !is_empty(flow) && (to->revents || flow->most == BUFFER_SIZE))
		r = give(flow);
	return r;
}

static struct pollfd want(int fd, bool wanted, short events)
{
	return (struct pollfd){.fd = wanted ? fd : -1, .events = events};
}

int pump_run(struct pump *pump, int socket)
{
	static struct flow up, down;
	bool shut = false, gone = false;
	int r = 0;

	up = (struct flow){
		.from = STDIN_FILENO, .to = socket, .most = BUFFER_SIZE, .count = &pump->sent};
	down = (struct flow){.from = socket,
		.to = STDOUT_FILENO,
		.most = most_of(STDOUT_FILENO),
		.count = &pump->received};
	(void)signal(SIGPIPE, SIG_IGN);
	/* Who has said its last may still listen, unless it is gone altogether. */
	while (r == 0 && !(down.ended && is_empty(&down) && (shut || gone))) {
		struct pollfd fds[] = {want(STDIN_FILENO, is_empty(&up) && !up.ended, POLLIN),
			want(socket, !is_empty(&up), POLLOUT),
			want(socket, is_empty(&down) && !down.ended, POLLIN),
			want(STDOUT_FILENO, !is_empty(&down), POLLOUT),
			want(socket, down.ended, 0)};

		if (poll(fds, 5, -1) < 0 && errno != EINTR)
			return -errno;
		gone = fds[4].revents & (POLLHUP | POLLERR);
		r = move(&up, &fds[0], &fds[1]);
		/* Who listens no more may still have said something. */
		if (r == -EPIPE || r == -ECONNRESET) {
			up.ended = true;
			up.at = up.end;
			shut = true;
			r = 0;
		}
		if (up.ended && is_empty(&up) && !shut) {
			shut = true;
			(void)shutdown(socket, SHUT_WR);
		}
		if (r == 0)
			r = move(&down, &fds[2], &fds[3]);
	}
	return r == -ECONNRESET ? 0 : r;
}

int pump_stdio(const struct cli *cli, int socket, const char *words)
{
	struct postern_error error = {0};
	AUTO_JSON json_t *counts = NULL;
	struct pump pump = {0};
	int r = pump_run(&pump, socket);

	/* Whoever read our output has had enough. */
	if (r < 0 && r != -EPIPE) {
		(void)fail_errno(&error, POSTERN_ANSWERED, -r, "standard input or output");
		return cli_fail(cli, &error);
	}
	if (!cli->json) {
		(void)fprintf(stderr, "%s\n", words);
		return POSTERN_DONE;
	}
	counts = json_pack(
		"{s:I, s:I}", "sent", (json_int_t)pump.sent, "received", (json_int_t)pump.received);
	(void)json_dumpf(counts, stderr, JSON_COMPACT);
	(void)fputc('\n', stderr);
	return POSTERN_DONE;
}
