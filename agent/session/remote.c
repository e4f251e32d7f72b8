/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/session/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/log.h"
#include "proto/verify.h"

/* Takes one whole part out of what came. False when more bytes are needed or the request ended. */
static bool take_part(struct request *request)
{
	struct session *session = request->session;
	struct buffer *part = &request->part;
	struct reply_head head;
	struct buffer frame;

	if (buffer_len(part) < sizeof(head))
		return false;
	memcpy(&head, buffer_front(part), sizeof(head));
	if (head.len > session->max_frame + FRAME_HEADER_MAX) {
		request_fail(session, request->id, POSTERN__V1__CODE__INTERNAL,
			"a worker's answer is over the limit");
		return false;
	}
	if (buffer_len(part) - sizeof(head) < head.len)
		return false;
	frame = *part;
	frame.start += sizeof(head);
	frame.end = frame.start + head.len;
	if (conn_send(session, &frame) < 0)
		return false;
	buffer_consume(part, sizeof(head) + head.len);
	if (!head.last)
		return true;
	/* More than the last part is nobody's answer: this pipe serves no other request. */
	request->answered = buffer_len(part) == 0;
	request_close(request);
	return false;
}

static void on_pipe(struct loop_io *io, uint32_t events)
{
	struct request *request = container_of(io, struct request, io);
	struct session *session = request->session;
	size_t room = 4096;
	ssize_t n = -1;
	uint8_t *at;

	(void)events;
	if (request == session->kept) {
		/* Nobody asked: what came must not stand in for the next request's answer. */
		request_free(take_ptr(session->kept));
		return;
	}
	if (conn_paused(session)) {
		session->waits_for_room = true;
		(void)loop_io_set(io, 0);
		return;
	}
	if (buffer_len(&request->part) > room)
		room = buffer_len(&request->part);
	at = buffer_reserve(&request->part, room);
	if (at)
		n = read(request->pipe, at, room);
	if (n < 0 && at && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* No whole answer: the broker says why. */
		loop_io_del(io);
		return;
	}
	buffer_commit(&request->part, (size_t)n);
	while (take_part(request))
		;
	conn_update(session);
}

void request_resume_pipes(struct session *session)
{
	LIST_EACH(&session->requests, node)
	{
		struct request *request = container_of(node, struct request, node);

		if (request->io.loop)
			(void)loop_io_set(&request->io, EPOLLIN);
	}
}

static int seal_params(const ProtobufCBinaryData *params, int *ret_fd)
{
	AUTO_CLOSE int fd = memfd_create("params", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (write(fd, params->data, params->len) != (ssize_t)params->len)
		return -EIO;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

bool remote_keeps_pipe(enum method method)
{
	return method_rows[method].where == READER;
}

static int make_pipe(struct request *request)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	request->pipe = ends[0];
	request->writer = ends[1];
	/* Ours only: the worker's end waits for us. */
	if (fcntl(request->pipe, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	request->io.fn = on_pipe;
	return loop_io_add(&request->session->loop, &request->io, request->pipe, EPOLLIN);
}

/* The number in the field "job" of a request that was checked: the broker needs it to find the
 * job's process, which reads all of the request itself. 0: there is none. */
static uint32_t job_of(
	struct session *session, enum method method, const ProtobufCBinaryData *params)
{
	const ProtobufCMessageDescriptor *type = handlers[method].request;
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(type, "job");
	const ProtobufCMessage *request;
	const char *why;
	uint64_t number;

	request = verify_unpack(
		type, params->data, params->len, &verify_agent_limits, &session->arena, &why);
	if (!request || !field || field->type != PROTOBUF_C_TYPE_UINT64)
		return 0;
	memcpy(&number, (const char *)request + field->offset, sizeof(number));
	return number <= UINT32_MAX ? (uint32_t)number : 0;
}

static int hand_over(struct request *request, const Postern__V1__Request *from, uint64_t deadline)
{
	struct session *session = request->session;
	struct inner_message message = {.kind = INNER_CALL,
		.id = request->serial,
		.aux = request->id,
		.method = (uint16_t)request->method,
		.deadline = deadline,
		.arg = session->max_frame};
	AUTO_CLOSE int body = -EBADF;
	int r = 0;

	if (request->pipe < 0)
		r = make_pipe(request);
	if (method_rows[request->method].where == JOB)
		message.job = job_of(session, request->method, &from->params);
	if (r == 0 && from->params.len > 0)
		r = seal_params(&from->params, &body);
	if (r == 0)
		r = inner_send(session->broker, &message, NULL, (int[]){request->writer, body},
			body < 0 ? 1 : 2);
	if (!remote_keeps_pipe(request->method))
		request->writer = fd_close(request->writer);
	return r;
}

void remote_start(struct session *session, const Postern__V1__Request *from, enum method method,
	uint64_t deadline)
{
	struct request *request;
	const char *why;

	/* The worker checks again; here the error costs no process. */
	if (verify_message(handlers[method].request, from->params.data, from->params.len,
		    &verify_agent_limits, &why) < 0) {
		request_end(session, from->id, method, POSTERN__V1__CODE__INVALID_ARGUMENT,
			POSTERN__V1__OUTCOME__NOT_DONE, why);
		return;
	}
	request = request_open(session, from->id, method);
	if (!request || hand_over(request, from, deadline) < 0)
		request_end(session, from->id, method, POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			POSTERN__V1__OUTCOME__NOT_DONE,
			"the agent is out of descriptors or memory");
}

void remote_cancel(struct request *request)
{
	struct inner_message message = {.kind = INNER_CANCEL, .id = request->serial};

	(void)inner_send(request->session->broker, &message, NULL, NULL, 0);
}

void request_ended(struct session *session, uint64_t serial, uint32_t why)
{
	static const struct {
		Postern__V1__Code code;
		const char *message;
	} reasons[] = {
		[ENDED_CRASHED] = {POSTERN__V1__CODE__INTERNAL,
			"the worker ended without an answer"},
		[ENDED_DEADLINE] = {POSTERN__V1__CODE__DEADLINE_EXCEEDED, "not done in time"},
		[ENDED_CANCELLED] = {POSTERN__V1__CODE__CANCELLED, "cancelled by the caller"},
		[ENDED_DENIED] = {POSTERN__V1__CODE__PERMISSION_DENIED, "denied by the policy"},
		[ENDED_BUSY] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			"too many requests, jobs or channels are under way; try again"},
		[ENDED_NO_WORKER] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			"no process could be started for this"},
		[ENDED_NO_JOB] = {POSTERN__V1__CODE__NOT_FOUND,
			"no such job of this caller; exec.list has them"},
		[ENDED_JOB_OVER] = {POSTERN__V1__CODE__FAILED_PRECONDITION,
			"the program has ended, and nothing of its output was kept"},
		[ENDED_FROZEN] = {POSTERN__V1__CODE__FAILED_PRECONDITION,
			"file systems are frozen (filesystems.status says for how long), and this "
			"may want to write; ask again when they are thawed"},
		[ENDED_HUNG] = {POSTERN__V1__CODE__UNAVAILABLE,
			"too many of the agent's processes hang on file systems that do not "
			"answer; unmount those lazily (mounts.unmount), or restart the guest"},
	};
	struct request *request = request_of_serial(session, serial);
	uint32_t reason = why & ~(uint32_t)(ENDED_STUCK | ENDED_NOT_DONE);
	bool not_done = why & ENDED_NOT_DONE || reason >= ENDED_DENIED;

	char text[256];

	/* An answer that was whole before the end came is on its way already. */
	if (!request || reason >= ARRAY_SIZE(reasons) || !reasons[reason].message)
		return;
	(void)snprintf(text, sizeof(text), "%s%s", reasons[reason].message,
		why & ENDED_NOT_DONE && method_rows[request->method].flags & MUTATING
			? "; nothing was changed"
			: "");
	request_end(session, request->id, request->method, reasons[reason].code,
		not_done ? POSTERN__V1__OUTCOME__NOT_DONE : POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN,
		text);
}
