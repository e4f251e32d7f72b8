/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/job_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/flow.h"
#include "host/cli/grant.h"
#include "host/cli/seat.h"
#include "host/cli/show.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/base64.h"
#include "proto/client/json.h"
#include "proto/client/json_call.h"
#include "proto/clock.h"

#define WAIT_MS     86400000u /* exec.wait's longest; it is asked again then */
#define SIGNAL_BASE 128       /* as shells tell a signal by an exit code */
#define TERMINAL_MS 3000      /* for the rest of a terminal's output, once the program has ended */
#define LOOK_MS     100

struct run {
	struct cli *cli;
	const struct job_run *how;
	struct postern_client *client;
	json_int_t job;
	struct flow in, out, err;
	int stdio, errors; /* owned; channels, -EBADF: none */
	struct seat seat;
	bool shut;                                 /* the end of our input was passed on */
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
	uint16_t rows, columns;

	seat_size(&rows, &columns);
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

	if (seat_new_size(&run->seat, &rows, &columns))
		ask(run, "exec.resize",
			json_pack("{s:I, s:i, s:i}", "job", run->job, "rows", rows, "columns",
				columns),
			on_ignored, 0);
}

/* ---- one turn ---- */

static void take_signals(struct run *run)
{
	uint32_t number;

	while ((number = seat_next_signal(&run->seat)) != 0)
		send_signal(run, number);
}

static void move_in(struct run *run, const struct pollfd *from, const struct pollfd *to)
{
	seat_read(&run->seat, &run->in, from);
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
	if (seat_write(&run->seat, flow, to))
		send_signal(run, SIGPIPE);
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
	       (flow->ended || (!run->seat.unread && (json_int_t)flow->count + dropped >= total));
}

static bool is_over(const struct run *run)
{
	if (run->seat.left || run->error.failure != POSTERN_DONE)
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
		seat_signals(&run->seat), seat_sizes(&run->seat)};

	if (poll(fds, ARRAY_SIZE(fds), run->record ? LOOK_MS : -1) < 0)
		return;
	move_in(run, &fds[0], &fds[1]);
	move_out(run, &run->out, &fds[2], &fds[3]);
	move_out(run, &run->err, &fds[4], &fds[5]);
	if (fds[7].revents)
		take_signals(run);
	if (fds[8].revents)
		send_size(run);
	if (run->record && !fds[6].revents)
		return;
	(void)postern_client_dispatch(run->client, run->record ? NULL : &run->error);
}

/* ---- before and after ---- */

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
	return seat_take(&run->seat, run->how->terminal);
}

static int tell_end(struct run *run)
{
	const char *state;
	int code = POSTERN_ANSWERED;

	seat_check(&run->seat, &run->error);
	if (run->error.failure != POSTERN_DONE)
		return cli_fail(run->cli, &run->error);
	if (run->seat.left)
		return SEAT_LEFT;
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
	seat_leave(&run->seat);
	r = tell_end(run);
	run->stdio = fd_close(run->stdio);
	run->errors = fd_close(run->errors);
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
	run.stdio = run.errors = run.seat.signals = run.seat.sizes = -EBADF;
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
