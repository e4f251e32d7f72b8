/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/vshd_run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/flow.h"
#include "host/cli/seat.h"
#include "host/common/fail.h"
#include "host/lib/postern.h"
#include "proto/arena.h"
#include "proto/buffer.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/clock.h"
#include "proto/vsh.h"
#include "vsh.pb-c.h"

#define ANSWER_MS  15000       /* for the program to be started */
#define OUT_ENOUGH (64u << 10) /* bytes on their way to vshd: no more is read */
#define MEMORY     (64u << 10) /* of a message */
#define CODE_MAX   255

struct run {
	struct cli *cli;
	int socket; /* owned; -EBADF: it has ended */
	struct vsh_reader reader;
	struct buffer sent; /* what goes to vshd */
	struct arena arena; /* of a message that came */
	struct seat seat;
	struct flow in, out, err;
	bool shut; /* the end of our input was passed on */
	bool answered, exited;
	int32_t pid, code;
	struct postern_error error;
};

/* ---- to vshd ---- */

static void send_message(struct run *run, const ProtobufCMessage *message)
{
	int r = vsh_append(&run->sent, message);

	if (r < 0)
		(void)fail_errno(&run->error, POSTERN_USAGE, -r,
			"what vshd is sent has at most %d bytes", VSH_FRAME_MAX);
}

static void send_data(struct run *run, uint8_t *bytes, size_t len)
{
	Postern__Vsh__GuestMessage message = POSTERN__VSH__GUEST_MESSAGE__INIT;
	Postern__Vsh__DataMessage data = POSTERN__VSH__DATA_MESSAGE__INIT;

	data.has_stream = data.has_data = true;
	data.stream = POSTERN__VSH__STDIO_STREAM__STDIN_STREAM;
	data.data = (ProtobufCBinaryData){.len = len, .data = bytes};
	message.msg_case = POSTERN__VSH__GUEST_MESSAGE__MSG_DATA_MESSAGE;
	message.data_message = &data;
	send_message(run, &message.base);
}

static void send_size(struct run *run)
{
	Postern__Vsh__GuestMessage message = POSTERN__VSH__GUEST_MESSAGE__INIT;
	Postern__Vsh__WindowResizeMessage size = POSTERN__VSH__WINDOW_RESIZE_MESSAGE__INIT;
	uint16_t rows, columns;

	if (!seat_new_size(&run->seat, &rows, &columns))
		return;
	size.has_rows = size.has_cols = true;
	size.rows = rows;
	size.cols = columns;
	message.msg_case = POSTERN__VSH__GUEST_MESSAGE__MSG_RESIZE_MESSAGE;
	message.resize_message = &size;
	send_message(run, &message.base);
}

/* All that seat_next_signal() has are among those that vshd knows. */
static void send_signals(struct run *run)
{
	uint32_t number;

	while ((number = seat_next_signal(&run->seat)) != 0) {
		Postern__Vsh__GuestMessage message = POSTERN__VSH__GUEST_MESSAGE__INIT;

		message.msg_case = POSTERN__VSH__GUEST_MESSAGE__MSG_SIGNAL;
		message.signal = (Postern__Vsh__Signal)number;
		send_message(run, &message.base);
	}
}

static ProtobufCBinaryData text(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

static void send_request(struct run *run, const struct vshd_run *how)
{
	Postern__Vsh__SetupConnectionRequest request = POSTERN__VSH__SETUP_CONNECTION_REQUEST__INIT;
	Postern__Vsh__EnvEntry term = POSTERN__VSH__ENV_ENTRY__INIT, *env[] = {&term};
	const char *ours = getenv("TERM");
	AUTO_FREE ProtobufCBinaryData *argv = calloc((size_t)how->argc + 1, sizeof(*argv));
	uint16_t rows, columns;

	if (!argv) {
		(void)fail_errno(&run->error, POSTERN_ANSWERED, ENOMEM, "request");
		return;
	}
	for (int i = 0; i < how->argc; i++)
		argv[i] = text(how->argv[i]);
	request.n_argv = (size_t)how->argc;
	request.argv = argv;
	request.has_user = how->user != NULL;
	request.user = text(how->user ? how->user : "");
	request.has_cwd = how->cwd != NULL;
	request.cwd = text(how->cwd ? how->cwd : "");
	request.has_nopty = request.nopty = !how->terminal;
	if (how->terminal) {
		seat_size(&rows, &columns);
		request.has_window_rows = request.has_window_cols = true;
		request.window_rows = rows;
		request.window_cols = columns;
		term.has_key = term.has_value = true;
		term.key = text("TERM");
		term.value = text(ours ? ours : "");
		request.env = env;
		request.n_env = ours && ours[0];
	}
	send_message(run, &request.base);
}

/* ---- from vshd ---- */

static void fail_protocol(struct run *run, const char *why)
{
	(void)fail(&run->error, POSTERN_PROTOCOL, EPROTO, "vshd: %s", why);
}

/* Why there is no program, in the guest's words. */
static void fail_told(struct run *run, const char *what, const ProtobufCBinaryData *why)
{
	char escaped[400];

	(void)postern_escape(why->data, why->len, escaped, sizeof(escaped));
	(void)fail(&run->error, POSTERN_ANSWERED, 0, "%s: %s", what,
		escaped[0] ? escaped : "no reason given");
}

static void take_answer(struct run *run, const ProtobufCMessage *message)
{
	const Postern__Vsh__SetupConnectionResponse *answer =
		(const Postern__Vsh__SetupConnectionResponse *)message;

	run->answered = true;
	run->pid = answer->pid;
	if (answer->status != POSTERN__VSH__CONNECTION_STATUS__READY)
		fail_told(run, "vshd refuses", &answer->description);
}

static void take_status(struct run *run, const Postern__Vsh__ConnectionStatusMessage *status)
{
	if (status->status == POSTERN__VSH__CONNECTION_STATUS__READY)
		return;
	if (status->status != POSTERN__VSH__CONNECTION_STATUS__EXITED) {
		fail_told(run, "vshd gave up", &status->description);
		return;
	}
	run->exited = true;
	run->code = status->code;
	if (status->code < 0 || status->code > CODE_MAX)
		fail_protocol(run, "the program's exit code is none");
}

static void take_data(struct run *run, const Postern__Vsh__DataMessage *data)
{
	if (data->stream == POSTERN__VSH__STDIO_STREAM__STDOUT_STREAM)
		flow_add(&run->out, data->data.data, data->data.len);
	else if (data->stream == POSTERN__VSH__STDIO_STREAM__STDERR_STREAM)
		flow_add(&run->err, data->data.data, data->data.len);
	else
		fail_protocol(run, "bytes of a stream that the program has not");
}

static void take_frame(struct run *run, const uint8_t *body, size_t len)
{
	const ProtobufCMessageDescriptor *type =
		run->answered ? &postern__vsh__host_message__descriptor
			      : &postern__vsh__setup_connection_response__descriptor;
	ProtobufCMessage *message;
	const Postern__Vsh__HostMessage *host;
	const char *why;

	arena_reset(&run->arena);
	message = verify_unpack(type, body, len, &vsh_limits, &run->arena, &why);
	host = (const Postern__Vsh__HostMessage *)message;
	if (!message)
		fail_protocol(run, why);
	else if (!run->answered)
		take_answer(run, message);
	else if (host->msg_case == POSTERN__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE)
		take_data(run, host->data_message);
	else if (host->msg_case == POSTERN__VSH__HOST_MESSAGE__MSG_STATUS_MESSAGE)
		take_status(run, host->status_message);
}

static bool has_failed(const struct run *run)
{
	return run->error.failure != POSTERN_DONE;
}

/* Each stream takes what a frame can hold. */
static bool has_room(const struct run *run)
{
	return flow_room(&run->out) >= VSH_FRAME_MAX && flow_room(&run->err) >= VSH_FRAME_MAX;
}

static void take_frames(struct run *run)
{
	const uint8_t *body;
	size_t len;
	int r = 1;

	while (r > 0 && has_room(run) && !run->exited && !has_failed(run)) {
		r = vsh_next(&run->reader, &body, &len);
		if (r < 0)
			fail_protocol(run, "a message of more than 4096 bytes");
		else if (r > 0)
			take_frame(run, body, len);
	}
}

static void read_socket(struct run *run)
{
	ssize_t n;

	take_frames(run);
	if (!has_room(run) || run->exited || has_failed(run))
		return;
	n = vsh_read(&run->reader, run->socket);
	if (n == -EAGAIN)
		return;
	take_frames(run);
	if (n <= 0 && !run->exited && !has_failed(run))
		(void)fail(&run->error, POSTERN_ABSENT, n < 0 ? (int)-n : ECONNRESET,
			run->answered ? "vshd has ended the connection before the program's end"
				      : "vshd has ended the connection without an answer");
}

/* ---- one turn ---- */

static void move_in(struct run *run, const struct pollfd *source)
{
	struct flow *in = &run->in;

	seat_read(&run->seat, in, source);
	while (!flow_is_empty(in) && buffer_len(&run->sent) < OUT_ENOUGH && !has_failed(run)) {
		size_t len = in->end - in->at;

		len = len < VSH_DATA_MAX ? len : VSH_DATA_MAX;
		send_data(run, in->bytes + in->at, len);
		in->at += len;
	}
	if (in->ended && flow_is_empty(in) && !run->shut) {
		run->shut = true;
		send_data(run, NULL, 0);
	}
}

static void move_out(struct run *run, struct flow *flow, const struct pollfd *target)
{
	/* vshd cannot be told of a reader that is gone, but by leaving. */
	run->seat.left |= seat_write(&run->seat, flow, target);
}

/* Nothing more is sent or read. */
static bool is_done(const struct run *run)
{
	return run->exited || has_failed(run);
}

static void exchange(struct run *run)
{
	/* Who takes no more may have said its last. At a raw terminal the way out is still read. */
	if (buffer_send(&run->sent, run->socket, NULL) < 0) {
		buffer_consume(&run->sent, buffer_len(&run->sent));
		run->in.ended |= !run->seat.raw;
	}
	read_socket(run);
}

/* What is wanted of the socket: also to be written to by input that move_in() has left. One that
 * was hung up would wake us over and over, whatever is wanted of it. */
static struct pollfd peer(const struct run *run, bool listens)
{
	bool sends = buffer_len(&run->sent) > 0 || (listens && !flow_is_empty(&run->in));
	short wanted = (short)((has_room(run) ? POLLIN : 0) | (sends ? POLLOUT : 0));

	return (struct pollfd){.fd = is_done(run) || !wanted ? -1 : run->socket, .events = wanted};
}

static void turn(struct run *run, int timeout_ms)
{
	bool listens = run->answered && !is_done(run);
	struct pollfd fds[] = {listens ? flow_source(&run->in) : (struct pollfd){.fd = -1},
		flow_target(&run->out), flow_target(&run->err), seat_signals(&run->seat),
		seat_sizes(&run->seat), peer(run, listens)};

	if (poll(fds, ARRAY_SIZE(fds), timeout_ms) < 0)
		return;
	if (listens)
		move_in(run, &fds[0]);
	move_out(run, &run->out, &fds[1]);
	move_out(run, &run->err, &fds[2]);
	if (fds[3].revents)
		send_signals(run);
	if (fds[4].revents)
		send_size(run);
	if (!is_done(run))
		exchange(run);
}

/* ---- from the start to the end ---- */

static void wait_for_answer(struct run *run)
{
	uint64_t until = monotonic_ns() + ANSWER_MS * NSEC_PER_MSEC;

	while (!run->answered && !has_failed(run)) {
		if (monotonic_ns() >= until)
			(void)fail(
				&run->error, POSTERN_TIMED_OUT, ETIMEDOUT, "vshd does not answer");
		else
			turn(run, ms_until(until));
	}
}

/* What came is shown, whatever came then. */
static bool is_over(const struct run *run)
{
	return run->seat.left ||
	       (is_done(run) && flow_is_empty(&run->out) && flow_is_empty(&run->err));
}

static int tell_end(struct run *run)
{
	seat_check(&run->seat, &run->error);
	if (has_failed(run))
		return cli_fail(run->cli, &run->error);
	if (run->seat.left)
		return SEAT_LEFT;
	if (run->cli->json)
		(void)fprintf(
			stderr, "{\"pid\":%d,\"exit_code\":%d}\n", (int)run->pid, (int)run->code);
	return (int)run->code;
}

int vshd_run(struct cli *cli, const struct vshd_run *how)
{
	static struct run run; /* too large for a stack */
	int r;

	run = (struct run){.cli = cli, .socket = -EBADF};
	run.seat = (struct seat){.signals = -EBADF, .sizes = -EBADF};
	if (postern_stream_open(cli->words[0], how->port, 0, &run.socket, &run.error) < 0)
		return cli_fail(cli, &run.error);
	arena_init(&run.arena, MEMORY);
	flow_init(&run.in, STDIN_FILENO, -EBADF);
	flow_init(&run.out, -EBADF, STDOUT_FILENO);
	flow_init(&run.err, -EBADF, STDERR_FILENO);
	send_request(&run, how);
	wait_for_answer(&run);
	r = has_failed(&run) ? 0 : seat_take(&run.seat, how->terminal);
	if (r < 0)
		(void)fail_errno(&run.error, POSTERN_ANSWERED, -r, "standard streams");
	while (!is_over(&run))
		turn(&run, -1);
	seat_leave(&run.seat);
	run.socket = fd_close(run.socket);
	buffer_clear(&run.sent);
	arena_done(&run.arena);
	return tell_end(&run);
}
