/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/session/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/log.h"
#include "proto/verify.h"

#define READ_LEAST 4096 /* bytes at once of what comes */

int remote_pass_on(struct session *session, struct buffer *came, struct passed *ret)
{
	struct reply_head *head = &ret->head;
	struct buffer frame;

	*ret = (struct passed){0};
	while (buffer_len(came) >= sizeof(*head)) {
		memcpy(head, buffer_front(came), sizeof(*head));
		if (head->len > session->max_frame + FRAME_HEADER_MAX)
			return -EMSGSIZE;
		if (buffer_len(came) - sizeof(*head) < head->len)
			return 0;
		frame = *came;
		frame.start += sizeof(*head);
		frame.end = frame.start + head->len;
		ret->frame = buffer_front(&frame);
		ret->parts++;
		if (head->len > 0 && conn_send(session, &frame) < 0)
			return -ENOMEM;
		buffer_consume(came, sizeof(*head) + head->len);
		if (!came->data)
			ret->frame = NULL;
		if (head->last)
			return 1;
	}
	return 0;
}

int remote_read(struct session *session, struct loop_io *io, struct buffer *came)
{
	size_t room = buffer_len(came) > READ_LEAST ? buffer_len(came) : READ_LEAST;
	ssize_t n = -1;
	uint8_t *at;

	if (conn_paused(session)) {
		session->waits_for_room = true;
		(void)loop_io_set(io, 0);
		return -EAGAIN;
	}
	at = buffer_reserve(came, room);
	if (at)
		n = read(io->fd, at, room);
	if (n < 0 && at && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n > 0)
		buffer_commit(came, (size_t)n);
	return n > 0;
}

static void on_pipe(struct loop_io *io, uint32_t events)
{
	struct request *request = container_of(io, struct request, io);
	struct session *session = request->session;
	int r = remote_read(session, io, &request->part);
	struct passed passed;

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 0) {
		/* No whole answer: the broker says why. */
		loop_io_del(io);
		return;
	}
	r = remote_pass_on(session, &request->part, &passed);
	if (r == -EMSGSIZE)
		request_fail(session, request->id, POSTERN__V1__CODE__INTERNAL,
			"a worker's answer is over the limit");
	else if (r == 1)
		request_close(request);
	conn_update(session);
}

void remote_resume(struct session *session)
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

static int make_pipe(struct request *request, int *ret_writer)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	request->pipe = ends[0];
	*ret_writer = ends[1];
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
	AUTO_CLOSE int writer = -EBADF;
	AUTO_CLOSE int body = -EBADF;
	int r = make_pipe(request, &writer);

	if (method_rows[request->method].where == JOB)
		message.job = job_of(session, request->method, &from->params);
	if (r == 0 && from->params.len > 0)
		r = seal_params(&from->params, &body);
	if (r == 0)
		r = inner_send(
			session->broker, &message, NULL, (int[]){writer, body}, body < 0 ? 1 : 2);
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

void remote_ended(struct session *session, uint64_t serial, uint32_t why)
{
	struct request *request = request_of_serial(session, serial);

	/* An answer that was whole before the end came is on its way already. */
	if (request)
		request_ended(request, why);
}

void remote_cancel(struct request *request)
{
	struct inner_message message = {.kind = INNER_CANCEL, .id = request->serial};

	(void)inner_send(request->session->broker, &message, NULL, NULL, 0);
}
