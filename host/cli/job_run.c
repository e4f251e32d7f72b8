/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/job_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/escape.h"
#include "host/cli/flow.h"
#include "host/cli/grant.h"
#include "host/cli/show.h"
#include "host/cli/terminal.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/base64.h"
#include "proto/client/json.h"
#include "proto/client/json_call.h"
#include "proto/clock.h"
#include "proto/write.h"

#define WAIT_MS     86400000u /* exec.wait's longest; it is asked again then */
#define SIGNAL_BASE 128       /* as shells tell a signal by an exit code */
#define ESCAPED     255       /* the user has left by ~. */
#define INTERRUPTS  3         /* so many: we leave although the program goes on */
#define TERMINAL_MS 3000      /* for the rest of a terminal's output, once the program has ended */
#define LOOK_MS     100
#define ROWS        24
#define COLUMNS     80

struct run {
	struct cli *cli;
	const struct job_run *how;
	struct postern_client *client;
	json_int_t job;
	struct flow in, out, err;
	int stdio, errors;  /* owned; channels, -EBADF: none */
	int signals, sizes; /* owned */
	bool raw;
	struct escape escape;
	bool shut;   /* the end of our input was passed on */
	bool left;   /* by ~., or by too many interrupts */
	bool unread; /* nobody reads our output any more */
	unsigned int interrupts;
	json_int_t output_dropped, errors_dropped; /* of an attach: bytes before the first */
	uint64_t ended_ns;                         /* CLOCK_MONOTONIC, when we heard of it */
	json_t *record;                            /* owned; once the program has ended */
	struct postern_error error;
};

json_t *job_bytes(const char *text)
{
	json_t *json = json_string(text);
	char *base64;

	if (json)
		return json;
	base64 = base64_encode((const uint8_t *)text, strlen(text));
	json = base64 ? json_pack("{s:s}", "base64", base64) : NULL;
	free(base64);
	return json;
}

json_t *job_terminal(void)
{
	const char *term = getenv("TERM");
	uint16_t rows = ROWS, columns = COLUMNS;

	if (terminal_size(STDIN_FILENO, &rows, &columns) < 0)
		(void)terminal_size(STDOUT_FILENO, &rows, &columns);
	return json_pack("{s:i, s:i, s:o*}", "rows", rows, "columns", columns, "term",
		term && term[0] ? job_bytes(term) : NULL);
}

/* ---- requests while it runs ---- */

/* What is not worth the end: the program may be over already. */
static void on_ignored(void *ctx, const struct postern_error *error, const uint8_t *result,
	size_t result_len, bool more)
{
	(void)ctx;
	(void)error;
	(void)result;
	(void)result_len;
	(void)more;
}

static void ask(struct run *run, const char *method, json_t *params, postern_reply_fn fn,
	uint32_t timeout_ms)
{
	struct method_schema schema;
	char problem[128];
	uint8_t *bytes = NULL;
	uint64_t id;
	size_t len;

	if (params && schema_find(method, &schema) == 0 &&
		json_to_message(schema.request, params, &bytes, &len, problem, sizeof(problem)) ==
			0)
		(void)postern_call_start(run->client, method, bytes, len, timeout_ms, fn, run, &id);
	free(bytes);
	json_decref(params);
}

static void on_ended(void *ctx, const struct postern_error *error, const uint8_t *result,
	size_t result_len, bool more);

static void ask_end(struct run *run)
{
	ask(run, "exec.wait", json_pack("{s:I}", "job", run->job), on_ended, WAIT_MS);
}

static void on_ended(void *ctx, const struct postern_error *error, const uint8_t *result,
	size_t result_len, bool more)
{
	struct run *run = ctx;
	struct method_schema schema;
	AUTO_JSON json_t *answer = NULL;
	const char *why;

	(void)more;
	if (error && error->failure == POSTERN_TIMED_OUT) {
		ask_end(run);
		return;
	}
	if (error) {
		run->error = *error;
		run->error.packed = NULL;
		return;
	}
	if (schema_find("exec.wait", &schema) < 0 ||
		json_from_message(schema.reply, result, result_len, &answer, &why) < 0 ||
		!json_object_get(answer, "job")) {
		(void)fail(
			&run->error, POSTERN_PROTOCOL, EPROTO, "exec.wait: no record of the job");
		return;
	}
	run->ended_ns = monotonic_ns();
	run->record = json_incref(json_object_get(answer, "job"));
}

static void send_signal(struct run *run, uint32_t number)
{
	ask(run, "exec.signal", json_pack("{s:I, s:i}", "job", run->job, "signal", (int)number),
		on_ignored, 0);
}

static void send_size(struct run *run)
{
	uint16_t rows, columns;

	terminal_size_seen(run->sizes);
	if (terminal_size(STDIN_FILENO, &rows, &columns) == 0)
		ask(run, "exec.resize",
			json_pack("{s:I, s:i, s:i}", "job", run->job, "rows", rows, "columns",
				columns),
			on_ignored, 0);
}

/* ---- one turn ---- */

static void take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		run->left |= ++run->interrupts >= INTERRUPTS;
		send_signal(run, info.ssi_signo);
	}
}

static void filter(struct run *run)
{
	static uint8_t typed[FLOW_SIZE];
	size_t len = run->in.end;
	enum escape_wish wish;

	memcpy(typed, run->in.bytes, len);
	wish = escape_take(&run->escape, typed, len, run->in.bytes, &run->in.end);
	if (wish == ESCAPE_HELP)
		(void)write_all(STDOUT_FILENO, ESCAPE_HELP_TEXT, strlen(ESCAPE_HELP_TEXT));
	run->left |= wish == ESCAPE_LEAVE;
}

static void move_in(struct run *run, const struct pollfd *from, const struct pollfd *to)
{
	bool waited = flow_is_empty(&run->in);
	int r = flow_take(&run->in, from);

	/* A terminal that went away is the end of what is typed. */
	if (r < 0)
		run->in.ended = true;
	if (run->raw && waited && !flow_is_empty(&run->in))
		filter(run);
	if (flow_give(&run->in, to) < 0) {
		/* The program reads no more; it may have something to say. */
		run->in.ended = run->shut = true;
		run->in.at = run->in.end;
	}
	if (run->in.ended && flow_is_empty(&run->in) && !run->shut) {
		run->shut = true;
		(void)shutdown(run->stdio, SHUT_WR);
	}
}

static void move_out(
	struct run *run, struct flow *flow, const struct pollfd *from, const struct pollfd *to)
{
	if (flow_take(flow, from) < 0)
		flow->ended = true;
	if (run->unread)
		flow->at = flow->end;
	if (flow_give(flow, to) < 0) {
		/* As in a pipe: who writes on is told. */
		flow->at = flow->end;
		if (!run->unread)
			send_signal(run, SIGPIPE);
		run->unread = true;
	}
}

/* All that the program itself has written came through; who holds its streams still may go on. */
static bool has_all(
	const struct run *run, const struct flow *flow, const char *field, json_int_t dropped)
{
	json_int_t total = json_field_int(run->record, field, 0);

	/* What a terminal still holds the kernel does not tell: it ends when all of it came, or
	 * soon, where somebody keeps it. */
	if (json_is_true(json_object_get(run->record, "terminal")))
		return flow_is_empty(flow) &&
		       (flow->ended ||
			       monotonic_ns() >= run->ended_ns + TERMINAL_MS * NSEC_PER_MSEC);
	return flow_is_empty(flow) &&
	       (flow->ended || (!run->unread && (json_int_t)flow->count + dropped >= total));
}

static bool is_over(const struct run *run)
{
	if (run->left || run->error.failure != POSTERN_DONE)
		return true;
	return run->record && has_all(run, &run->out, "output_bytes", run->output_dropped) &&
	       has_all(run, &run->err, "errors_bytes", run->errors_dropped);
}

static void turn(struct run *run)
{
	struct pollfd fds[] = {flow_source(&run->in), flow_target(&run->in), flow_source(&run->out),
		flow_target(&run->out), flow_source(&run->err), flow_target(&run->err),
		{.fd = postern_client_fd(run->client),
			.events = postern_client_events(run->client)},
		{.fd = run->signals, .events = POLLIN}, {.fd = run->sizes, .events = POLLIN}};

	if (poll(fds, ARRAY_SIZE(fds), run->record ? LOOK_MS : -1) < 0)
		return;
	move_in(run, &fds[0], &fds[1]);
	move_out(run, &run->out, &fds[2], &fds[3]);
	move_out(run, &run->err, &fds[4], &fds[5]);
	if (fds[7].revents)
		take_signal(run);
	if (fds[8].revents)
		send_size(run);
	if (run->record && !fds[6].revents)
		return;
	(void)postern_client_dispatch(run->client, run->record ? NULL : &run->error);
}

/* ---- before and after ---- */

/* What would end us is the program's; at a raw terminal the keys are. */
static int watch_signals(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; !run->raw && i < 4; i++)
		sigaddset(&set, (const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT}[i]);
	(void)signal(SIGPIPE, SIG_IGN);
	run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return run->raw ? terminal_watch_size(&run->sizes) : 0;
}

static int connect_streams(struct run *run, const json_t *answer)
{
	int r = grant_open(run->client, answer, "stdio", &run->stdio, &run->error);

	if (r == 0)
		r = grant_open(run->client, answer, "errors", &run->errors, &run->error);
	if (r < 0)
		return r;
	flow_init(&run->in, run->stdio < 0 ? -EBADF : STDIN_FILENO, run->stdio);
	flow_init(&run->out, run->stdio, STDOUT_FILENO);
	flow_init(&run->err, run->errors, STDERR_FILENO);
	run->shut = run->stdio < 0;
	if (run->how->terminal && isatty(STDIN_FILENO))
		run->raw = terminal_raw(STDIN_FILENO) == 0;
	return watch_signals(run);
}

static int tell_end(struct run *run)
{
	const char *state;
	int code = POSTERN_ANSWERED;

	if (run->error.failure != POSTERN_DONE)
		return cli_fail(run->cli, &run->error);
	if (run->left)
		return ESCAPED;
	state = json_field_string(run->record, "state", "");
	if (strcmp(state, "EXITED") == 0)
		code = (int)json_field_int(run->record, "exit_code", 0);
	else if (strcmp(state, "SIGNALLED") == 0)
		code = SIGNAL_BASE + (int)json_field_int(run->record, "signal", 0);
	else
		(void)fprintf(stderr, "postern: the agent has lost the program\n");
	if (json_is_true(json_object_get(run->record, "deadline_exceeded")))
		(void)fprintf(stderr, "postern: it was ended since its time was over\n");
	if (run->cli->json) {
		char *text = json_dumps(run->record, JSON_COMPACT | JSON_ENSURE_ASCII);

		(void)fprintf(stderr, "%s\n", text ? text : "{}");
		free(text);
	}
	return code;
}

static int run_to_end(struct run *run, const json_t *answer)
{
	int r = connect_streams(run, answer);

	if (r < 0 && run->error.failure == POSTERN_DONE)
		(void)fail_errno(&run->error, POSTERN_ANSWERED, -r, "standard streams");
	ask_end(run);
	while (!is_over(run))
		turn(run);
	terminal_restore();
	r = tell_end(run);
	run->stdio = fd_close(run->stdio);
	run->errors = fd_close(run->errors);
	run->signals = fd_close(run->signals);
	run->sizes = fd_close(run->sizes);
	json_decref(run->record);
	return r;
}

static int tell_job(struct cli *cli, const json_t *answer)
{
	if (cli->json)
		return cli_json(json_pack("{s:O*, s:O*}", "job", json_object_get(answer, "job"),
			"pid", json_object_get(answer, "pid")));
	show_line("job %" JSON_INTEGER_FORMAT " (pid %" JSON_INTEGER_FORMAT ")",
		json_field_int(answer, "job", 0), json_field_int(answer, "pid", 0));
	return POSTERN_DONE;
}

static int call_and_run(
	struct cli *cli, const struct job_run *how, const char *method, json_t *taken)
{
	static struct run run; /* too large for a stack */
	struct postern_error error = {0};
	AUTO_JSON json_t *answer = NULL;
	AUTO_JSON json_t *params = taken;
	int r = agent_connect(cli, &run.client);

	if (r != POSTERN_DONE)
		return r;
	run.cli = cli;
	run.how = how;
	run.stdio = run.errors = run.signals = run.sizes = -EBADF;
	if (json_call_object(run.client, method, params, 0, &answer, &error) < 0) {
		r = cli_fail(cli, &error);
	} else if (how->detach) {
		r = tell_job(cli, answer);
	} else {
		run.job = json_field_int(answer, "job", json_field_int(params, "job", 0));
		run.output_dropped = json_field_int(answer, "output_dropped", 0);
		run.errors_dropped = json_field_int(answer, "errors_dropped", 0);
		r = run_to_end(&run, answer);
	}
	postern_client_close(run.client);
	return r;
}

int job_run_start(struct cli *cli, const struct job_run *run, json_t *params)
{
	return call_and_run(cli, run, "exec.start", params);
}

int job_run_attach(struct cli *cli, const struct job_run *run, json_t *params)
{
	return call_and_run(cli, run, "exec.attach", params);
}
