/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/control_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/unix_socket.h"
#include "host/common/vm_files.h"
#include "host/lib/registry.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

int control_connect(const char *dir, int *ret_fd, struct postern_error *error)
{
	AUTO_FREE char *path = text_format("%s/" VM_FILE_CONTROL, dir);
	int fd = path ? unix_connect(path, CONTROL_MS) : -ENOMEM;

	if (fd < 0)
		return fail_errno(error, fd == -ETIMEDOUT ? POSTERN_TIMED_OUT : POSTERN_ABSENT, -fd,
			"the supervisor of the VM");
	*ret_fd = fd;
	return 0;
}

static int fail_ended(struct postern_error *error)
{
	return fail(error, POSTERN_ABSENT, ECONNRESET, "the supervisor of the VM ended");
}

/* Waits for a whole line until the deadline (UINT64_MAX: for ever). A new reference. */
static int next_line(int fd, struct json_reader *reader, uint64_t deadline, json_t **ret_line,
	struct postern_error *error)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		int r = json_reader_next(reader, ret_line);
		ssize_t n;

		if (r > 0)
			return 0;
		if (r < 0)
			return fail(error, POSTERN_PROTOCOL, -r,
				"the supervisor of the VM sent what is no answer");
		r = poll(&poll_fd, 1, deadline == UINT64_MAX ? -1 : ms_until(deadline));
		if (r == 0 && monotonic_ns() >= deadline)
			return fail(error, POSTERN_TIMED_OUT, ETIMEDOUT,
				"the supervisor of the VM did not answer in time");
		if (r <= 0)
			continue;
		n = json_reader_read_line(reader, fd);
		if (n == 0 || (n < 0 && n != -EAGAIN))
			return fail_ended(error);
	}
}

static int send_request(int fd, const char *command, json_t *arguments, struct postern_error *error)
{
	AUTO_JSON json_t *request =
		json_pack("{s:s, s:o*}", "command", command, "arguments", arguments);
	struct buffer out = {0};
	int r = request ? json_line_append(&out, request) : -ENOMEM;

	while (r == 0 && buffer_len(&out) > 0) {
		ssize_t n = send(fd, buffer_front(&out), buffer_len(&out), MSG_NOSIGNAL);

		if (n > 0)
			buffer_consume(&out, (size_t)n);
		else if (errno != EINTR)
			r = -errno;
	}
	buffer_clear(&out);
	if (r == -EPIPE || r == -ECONNRESET)
		return fail_ended(error);
	return r < 0 ? fail_errno(error, POSTERN_ABSENT, -r, "the supervisor of the VM") : 0;
}

static int take_error(const json_t *refusal, struct postern_error *error)
{
	(void)fail(error, failure_parse(json_field_string(refusal, "failure", "")),
		(int)json_field_int(refusal, "errno", 0), "%s",
		json_field_string(refusal, "message", "the supervisor gave no reason"));
	return -EREMOTEIO;
}

static int call(int fd, struct json_reader *reader, const char *command, json_t *arguments,
	int timeout_ms, control_progress_fn on_progress, void *ctx, json_t **ret_result,
	struct postern_error *error)
{
	uint64_t deadline = monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	int r = send_request(fd, command, arguments, error);
	bool done = false;

	while (r == 0 && !done) {
		AUTO_JSON json_t *line = NULL;
		json_t *result, *refusal, *progress;

		r = next_line(fd, reader, deadline, &line, error);
		if (r < 0)
			break;
		result = json_object_get(line, "return");
		refusal = json_object_get(line, "error");
		progress = json_object_get(line, "progress");
		if (progress && on_progress)
			on_progress(ctx, progress);
		if (refusal)
			r = take_error(refusal, error);
		done = result || refusal;
		if (done && ret_result)
			*ret_result = json_incref(result ? result : refusal);
	}
	return r;
}

int control_call(int fd, const char *command, json_t *arguments, int timeout_ms,
	control_progress_fn on_progress, void *ctx, json_t **ret_result,
	struct postern_error *error)
{
	struct json_reader reader = {.limit = CONTROL_ANSWER_MAX};
	int r = call(
		fd, &reader, command, arguments, timeout_ms, on_progress, ctx, ret_result, error);

	json_reader_done(&reader);
	return r;
}

int control_subscribe(
	int fd, struct json_reader *reader, json_t **ret_status, struct postern_error *error)
{
	return call(fd, reader, "events", NULL, CONTROL_MS, NULL, NULL, ret_status, error);
}

int control_next_event(int fd, struct json_reader *reader, int timeout_ms, json_t **ret_event,
	struct postern_error *error)
{
	uint64_t deadline =
		timeout_ms < 0 ? UINT64_MAX : monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;

	for (;;) {
		AUTO_JSON json_t *line = NULL;
		json_t *event;
		int r = next_line(fd, reader, deadline, &line, error);

		if (r < 0)
			return r;
		event = json_object_get(line, "event");
		if (event) {
			*ret_event = json_incref(event);
			return 0;
		}
	}
}

/* arguments is taken over. */
static int call_vm(const char *name, const char *command, json_t *arguments, int timeout_ms,
	control_progress_fn on_progress, void *ctx, int *ret_fd, json_t **ret_result,
	struct postern_error *error)
{
	AUTO_CLOSE int dir_fd = -EBADF, fd = -EBADF;
	char dir[PATH_MAX];
	bool live;
	int r = registry_open(name, dir, &dir_fd, &live, error);

	if (r == 0 && !live)
		r = fail(error, POSTERN_ABSENT, ENOENT, "the VM %s is not running", name);
	if (r == 0)
		r = control_connect(dir, &fd, error);
	if (r < 0) {
		json_decref(arguments);
		return r;
	}
	r = control_call(fd, command, arguments, timeout_ms, on_progress, ctx, ret_result, error);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

int control_call_vm_progress(const char *name, const char *command, json_t *arguments,
	int timeout_ms, control_progress_fn on_progress, void *ctx, json_t **ret_result,
	struct postern_error *error)
{
	AUTO_CLOSE int fd = -EBADF;

	return call_vm(
		name, command, arguments, timeout_ms, on_progress, ctx, &fd, ret_result, error);
}

int control_call_vm(const char *name, const char *command, json_t *arguments, int timeout_ms,
	json_t **ret_result, struct postern_error *error)
{
	return control_call_vm_progress(
		name, command, arguments, timeout_ms, NULL, NULL, ret_result, error);
}

int control_stream(const char *name, const char *command, json_t *arguments, int timeout_ms,
	int *ret_fd, json_t **ret_result, struct postern_error *error)
{
	return call_vm(name, command, arguments, timeout_ms, NULL, NULL, ret_fd, ret_result, error);
}
