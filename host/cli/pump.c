/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/pump.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/cli/flow.h"
#include "host/cli/terminal.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/clock.h"

struct run {
	struct pump *pump;
	int socket;
	struct flow up, down;
	bool shut;          /* the end of the input was passed on */
	bool gone;          /* the other side reads no more */
	bool left;          /* the user has asked for the end */
	uint64_t last_came; /* CLOCK_MONOTONIC ns */
};

static int go_up(struct run *run, const struct pollfd *from, const struct pollfd *to)
{
	struct flow *up = &run->up;
	bool waited = flow_is_empty(up);
	int r = flow_take(up, from);

	if (r == 0 && run->pump->escape && waited && !flow_is_empty(up))
		run->left = flow_typed(up, run->pump->escape);
	if (r == 0)
		r = flow_give(up, to);
	/* Who listens no more may still have said something. */
	if (r == -EPIPE || r == -ECONNRESET) {
		up->ended = run->shut = true;
		up->at = up->end;
		r = 0;
	}
	if (up->ended && flow_is_empty(up) && !run->shut) {
		run->shut = true;
		run->last_came = monotonic_ns();
		(void)shutdown(run->socket, SHUT_WR);
	}
	return r;
}

static int go_down(struct run *run, const struct pollfd *from, const struct pollfd *to)
{
	struct flow *down = &run->down;
	bool waited = flow_is_empty(down) && !down->ended && from->revents;
	int r = flow_take(down, from);

	if (waited) {
		run->last_came = monotonic_ns();
		if (r == 0 && run->pump->log && !run->pump->log_error &&
			fwrite(down->bytes, 1, down->end, run->pump->log) != down->end)
			run->pump->log_error = errno;
	}
	return r < 0 ? r : flow_give(down, to);
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
	if (!flow_is_empty(&run->down))
		return false;
	/* Who has said its last may still listen, unless it is gone altogether. */
	return (run->down.ended && (run->shut || run->gone)) || monotonic_ns() >= end_of_quiet(run);
}

static int turn(struct run *run)
{
	const struct flow *up = &run->up, *down = &run->down;
	uint64_t until = end_of_quiet(run);
	struct pollfd fds[] = {flow_source(up), flow_target(up), flow_source(down),
		flow_target(down), {.fd = down->ended ? run->socket : -1}};
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

	memset(&run, 0, sizeof(run));
	run.pump = pump;
	run.socket = socket;
	flow_init(&run.up, pump->read_only ? -EBADF : STDIN_FILENO, socket);
	flow_init(&run.down, socket, STDOUT_FILENO);
	(void)signal(SIGPIPE, SIG_IGN);
	while (r == 0 && !is_over(&run))
		r = turn(&run);
	pump->sent = run.up.count;
	pump->received = run.down.count;
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
