/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/vsh.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/job/job.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/limits.h"

#define MESSAGE_MEMORY (64u << 10)
#define OUT_ENOUGH     (64u << 10) /* bytes on their way to a client: the program waits */
#define TERMINAL_MS    3000        /* for the rest of a terminal that somebody holds open */
#define PIPES_MS       200         /* the same of pipes, of which it is known whether all came */
#define SHUT_MS        2000        /* for the client to take our last word */
#define END_OF_FILE    "\4"        /* what a terminal in its usual mode takes for it */

static void update(struct vsh *vsh);
static void take_frames(struct vsh *vsh);

/* ---- to the client ---- */

static void say(struct vsh *vsh, const ProtobufCMessage *message)
{
	/* It cannot be too long; without memory it is as with a client that is gone. */
	if (vsh_append(&vsh->out, message) < 0)
		vsh_leave(vsh);
}

static void say_data(struct vsh *vsh, const struct vsh_stream *stream, uint8_t *bytes, size_t len)
{
	Postern__Vsh__HostMessage message = POSTERN__VSH__HOST_MESSAGE__INIT;
	Postern__Vsh__DataMessage data = POSTERN__VSH__DATA_MESSAGE__INIT;

	data.has_stream = data.has_data = true;
	data.stream = stream->name;
	data.data = (ProtobufCBinaryData){.len = len, .data = bytes};
	message.msg_case = POSTERN__VSH__HOST_MESSAGE__MSG_DATA_MESSAGE;
	message.data_message = &data;
	say(vsh, &message.base);
}

static ProtobufCBinaryData words(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

static void answer(
	struct vsh *vsh, Postern__Vsh__ConnectionStatus status, const char *why, int32_t pid)
{
	Postern__Vsh__SetupConnectionResponse response =
		POSTERN__VSH__SETUP_CONNECTION_RESPONSE__INIT;

	response.has_status = response.has_description = true;
	response.status = status;
	response.description = words(why);
	response.has_pid = pid > 0;
	response.pid = pid;
	say(vsh, &response.base);
}

static void say_exited(struct vsh *vsh)
{
	const struct job_facts *facts = &vsh->job->job;
	Postern__Vsh__HostMessage message = POSTERN__VSH__HOST_MESSAGE__INIT;
	Postern__Vsh__ConnectionStatusMessage status =
		POSTERN__VSH__CONNECTION_STATUS_MESSAGE__INIT;

	status.has_status = status.has_description = status.has_code = true;
	status.status = POSTERN__VSH__CONNECTION_STATUS__EXITED;
	status.description = words("target process has exited");
	status.code = (int32_t)(facts->state == JOB_EXITED ? facts->exit_code : facts->signal);
	message.msg_case = POSTERN__VSH__HOST_MESSAGE__MSG_STATUS_MESSAGE;
	message.status_message = &status;
	say(vsh, &message.base);
}

/* ---- the end ---- */

static void end_stream(struct vsh_stream *stream)
{
	loop_io_del(&stream->io);
	stream->fd = fd_close(stream->fd);
	stream->ended = true;
}

void vsh_leave(struct vsh *vsh)
{
	struct job_process *job = vsh->job;

	if (!vsh_is_open(vsh))
		return;
	loop_io_del(&vsh->io);
	loop_timer_del(&vsh->timer);
	vsh->socket = fd_close(vsh->socket);
	end_stream(&vsh->output);
	end_stream(&vsh->errors);
	buffer_clear(&vsh->out);
	arena_done(&vsh->arena);
	/* The ports notice that their other ends are gone. */
	job->left = true;
	if (!job->started)
		loop_stop(&job->loop, 0);
}

/* Nothing is said behind what is in vsh->out. */
static void say_no_more(struct vsh *vsh)
{
	if (!vsh_is_open(vsh))
		return;
	vsh->state = VSH_OVER;
	loop_timer_del(&vsh->timer);
	end_stream(&vsh->output);
	end_stream(&vsh->errors);
	update(vsh);
}

/* All that the program itself has written was sent. Its streams end with it, but where somebody
 * else has them, who may write on for ever. What a terminal still holds the kernel does not tell.
 */
static bool has_all(const struct vsh *vsh, const struct vsh_stream *stream, uint64_t written)
{
	if (stream->ended)
		return true;
	return vsh->late && buffer_len(&vsh->out) == 0 &&
	       (vsh->job->job.terminal || stream->count >= written);
}

void vsh_finish(struct vsh *vsh)
{
	const struct job_facts *facts = &vsh->job->job;

	if (!vsh_is_open(vsh) || vsh->state != VSH_RUNS)
		return;
	if (has_all(vsh, &vsh->output, facts->output_bytes) &&
		has_all(vsh, &vsh->errors, facts->errors_bytes)) {
		say_exited(vsh);
		say_no_more(vsh);
	} else if (!vsh->late && !vsh->timer.loop) {
		loop_timer_set(&vsh->job->loop, &vsh->timer,
			monotonic_ns() +
				(facts->terminal ? TERMINAL_MS : PIPES_MS) * NSEC_PER_MSEC);
	}
}

static void on_timer(struct loop_timer *timer)
{
	struct vsh *vsh = container_of(timer, struct vsh, timer);
	struct job_process *job = vsh->job;

	if (vsh->state == VSH_RUNS)
		vsh->late = true;
	else
		vsh_leave(vsh);
	job_check(job);
}

/* ---- the program's streams ---- */

/* What the client sent goes on, as far as it is taken. Without a terminal an empty message is the
 * end; a terminal's has no end. */
static void give(struct vsh *vsh)
{
	ssize_t n = 0;

	if (vsh->data.len == 0)
		return;
	if (vsh->output.fd >= 0)
		n = send(
			vsh->output.fd, vsh->data.data, vsh->data.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Nobody reads it any more. */
	if (n <= 0)
		n = (ssize_t)vsh->data.len;
	vsh->data.data += n;
	vsh->data.len -= (size_t)n;
}

static void take(struct vsh_stream *stream)
{
	struct vsh *vsh = stream->vsh;
	uint8_t bytes[VSH_DATA_MAX];

	while (!stream->ended && buffer_len(&vsh->out) < OUT_ENOUGH) {
		ssize_t n = recv(stream->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		stream->ended = n <= 0;
		stream->count += n > 0 ? (uint64_t)n : 0;
		say_data(vsh, stream, bytes, n > 0 ? (size_t)n : 0);
	}
}

void vsh_on_stream(struct loop_io *io, uint32_t events)
{
	struct vsh_stream *stream = container_of(io, struct vsh_stream, io);
	struct vsh *vsh = stream->vsh;
	struct job_process *job = vsh->job;

	(void)events;
	take(stream);
	/* What the client said behind what has just been taken may be here already. */
	take_frames(vsh);
	if (vsh_is_open(vsh))
		update(vsh);
	job_check(job);
}

/* A port that is closed would wake us over and over, whatever is wanted of it. */
static void watch(struct vsh_stream *stream, uint32_t events)
{
	if (events == 0)
		loop_io_del(&stream->io);
	else if (stream->io.loop)
		(void)loop_io_set(&stream->io, events);
	else if (stream->fd >= 0)
		(void)loop_io_add(&stream->vsh->job->loop, &stream->io, stream->fd, events);
}

/* ---- from the client ---- */

/* The request, and its answer. */
static void begin(struct vsh *vsh, const uint8_t *body, size_t len)
{
	struct job_process *job = vsh->job;
	const char *why = "";
	int r = vsh_start(vsh, body, len, &why);

	loop_timer_del(&vsh->timer);
	if (r < 0) {
		vsh_leave(vsh);
		loop_stop(&job->loop, 1);
	} else if (job->started) {
		answer(vsh, POSTERN__VSH__CONNECTION_STATUS__READY, "vsh ready", job->job.pid);
		vsh->state = VSH_RUNS;
	} else {
		answer(vsh, POSTERN__VSH__CONNECTION_STATUS__FAILED, why, 0);
		say_no_more(vsh);
	}
	arena_reset(&job->arena);
}

static void take_size(const struct job_process *job, const Postern__Vsh__WindowResizeMessage *asked)
{
	struct winsize size = {
		.ws_row = (unsigned short)asked->rows, .ws_col = (unsigned short)asked->cols};

	if (job->master >= 0 && vsh_is_size(asked->rows, asked->cols))
		(void)ioctl(job->master, TIOCSWINSZ, &size);
}

static void take_signal(const struct job_process *job, Postern__Vsh__Signal signal)
{
	if (protobuf_c_enum_descriptor_get_value(&postern__vsh__signal__descriptor, (int)signal) &&
		signal != POSTERN__VSH__SIGNAL__SIGNAL_UNKNOWN)
		(void)job_signal(job, (int)signal, true);
}

static void take_data(struct vsh *vsh, const Postern__Vsh__DataMessage *message)
{
	if (message->stream != POSTERN__VSH__STDIO_STREAM__STDIN_STREAM)
		return;
	vsh->data = message->data;
	if (message->data.len > 0 || vsh->output.fd < 0)
		return;
	if (vsh->job->job.terminal)
		vsh->data = words(END_OF_FILE);
	else
		(void)shutdown(vsh->output.fd, SHUT_WR);
}

/* One that says nothing that we know is passed over: it may be of a newer client. */
static void take_message(struct vsh *vsh, const uint8_t *body, size_t len)
{
	const Postern__Vsh__GuestMessage *message;
	const char *why;

	arena_reset(&vsh->arena);
	message = (const Postern__Vsh__GuestMessage *)verify_unpack(
		&postern__vsh__guest_message__descriptor, body, len, &vsh_limits, &vsh->arena,
		&why);
	if (!message || message->msg_case == POSTERN__VSH__GUEST_MESSAGE__MSG_STATUS_MESSAGE)
		vsh_leave(vsh);
	else if (message->msg_case == POSTERN__VSH__GUEST_MESSAGE__MSG_DATA_MESSAGE)
		take_data(vsh, message->data_message);
	else if (message->msg_case == POSTERN__VSH__GUEST_MESSAGE__MSG_RESIZE_MESSAGE)
		take_size(vsh->job, message->resize_message);
	else if (message->msg_case == POSTERN__VSH__GUEST_MESSAGE__MSG_SIGNAL)
		take_signal(vsh->job, message->signal);
}

/* What was read, until the program has to take some of it. */
static void take_frames(struct vsh *vsh)
{
	const uint8_t *body;
	size_t len;
	int r;

	if (vsh_is_open(vsh))
		give(vsh);
	while (vsh_is_open(vsh) && vsh->state != VSH_OVER && vsh->data.len == 0) {
		r = vsh_next(&vsh->reader, &body, &len);
		if (r < 0)
			vsh_leave(vsh);
		if (r <= 0)
			return;
		if (vsh->state == VSH_ASKED)
			begin(vsh, body, len);
		else
			take_message(vsh, body, len);
		give(vsh);
	}
}

static bool reads(const struct vsh *vsh)
{
	return vsh->state == VSH_OVER || vsh->data.len == 0;
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct vsh *vsh = container_of(io, struct vsh, io);
	struct job_process *job = vsh->job;
	ssize_t n = -EAGAIN;

	/* Behind our last word nothing counts; it is read so that closing does not cut that off. */
	if (vsh->state == VSH_OVER)
		vsh->reader.at = vsh->reader.end;
	if (reads(vsh))
		n = vsh_read(&vsh->reader, vsh->socket);
	else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		n = 0; /* gone, with a program that does not read */
	if (n > 0)
		take_frames(vsh);
	else if (n != -EAGAIN)
		vsh_leave(vsh);
	if (vsh_is_open(vsh))
		update(vsh);
	job_check(job);
}

/* Sends what can be sent, and looks for what is wanted next. */
static void update(struct vsh *vsh)
{
	struct loop *loop = &vsh->job->loop;
	uint32_t wanted = EPOLLIN;

	if (buffer_send(&vsh->out, vsh->socket, NULL) < 0) {
		vsh_leave(vsh);
		return;
	}
	if (vsh->state == VSH_OVER && buffer_len(&vsh->out) == 0 && !vsh->timer.loop) {
		(void)shutdown(vsh->socket, SHUT_WR);
		loop_timer_set(loop, &vsh->timer, monotonic_ns() + SHUT_MS * NSEC_PER_MSEC);
	}
	(void)loop_io_set(&vsh->io, EPOLLRDHUP | (reads(vsh) ? EPOLLIN : 0) |
					    (buffer_len(&vsh->out) > 0 ? EPOLLOUT : 0));
	if (buffer_len(&vsh->out) >= OUT_ENOUGH)
		wanted = 0;
	watch(&vsh->errors, vsh->errors.ended ? 0 : wanted);
	watch(&vsh->output, (vsh->output.ended ? 0 : wanted) | (vsh->data.len > 0 ? EPOLLOUT : 0));
}

void vsh_init(struct vsh *vsh, struct job_process *job)
{
	*vsh = (struct vsh){.job = job,
		.socket = -EBADF,
		.output = {.vsh = vsh,
			.name = POSTERN__VSH__STDIO_STREAM__STDOUT_STREAM,
			.fd = -EBADF,
			.ended = true},
		.errors = {.vsh = vsh,
			.name = POSTERN__VSH__STDIO_STREAM__STDERR_STREAM,
			.fd = -EBADF,
			.ended = true}};
}

int vsh_open(struct vsh *vsh, int socket, uint64_t deadline)
{
	uint64_t by = monotonic_ns() + HELLO_DEADLINE_MS * NSEC_PER_MSEC;

	vsh->socket = socket;
	vsh->io.fn = on_client;
	vsh->timer.fn = on_timer;
	arena_init(&vsh->arena, MESSAGE_MEMORY);
	loop_timer_set(&vsh->job->loop, &vsh->timer, by < deadline ? by : deadline);
	return loop_io_add(&vsh->job->loop, &vsh->io, socket, EPOLLIN | EPOLLRDHUP);
}
