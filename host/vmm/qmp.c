/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/clock.h"

enum qmp_state { GREETING, NEGOTIATING, READY, ENDED };

struct command {
	struct command *next;
	json_int_t id;
	char name[48];
	uint64_t deadline; /* UINT64_MAX: it is late, and its owner was told */
	qmp_reply_fn fn;   /* NULL: nobody wants to know (any more) */
	void *ctx;
	json_t *request; /* until it is sent */
};

struct qmp {
	int fd;
	enum qmp_state state;
	uint64_t greeting_deadline;
	json_int_t last_id;
	struct command *open; /* in the order they were made */
	size_t n_open;
	struct json_reader reader;
	struct buffer out;
	bool silent; /* a command's time has passed, and nothing was answered since */
	struct qmp_watcher watcher;
};

int qmp_open(int fd, uint32_t greeting_ms, const struct qmp_watcher *watcher, struct qmp **ret_qmp)
{
	struct qmp *qmp = calloc(1, sizeof(*qmp));

	if (!qmp) {
		(void)fd_close(fd);
		return -ENOMEM;
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	qmp->fd = fd;
	qmp->greeting_deadline = monotonic_ns() + greeting_ms * NSEC_PER_MSEC;
	qmp->reader.limit = QMP_LINE_MAX;
	qmp->watcher = *watcher;
	*ret_qmp = qmp;
	return 0;
}

static void command_free(struct command *command)
{
	json_decref(command->request);
	free(command);
}

void qmp_close(struct qmp *qmp)
{
	if (!qmp)
		return;
	while (qmp->open) {
		struct command *command = qmp->open;

		qmp->open = command->next;
		command_free(command);
	}
	json_reader_done(&qmp->reader);
	buffer_clear(&qmp->out);
	(void)fd_close(qmp->fd);
	free(qmp);
}

int qmp_fd(const struct qmp *qmp)
{
	return qmp->fd;
}

short qmp_events(const struct qmp *qmp)
{
	return buffer_len(&qmp->out) > 0 ? POLLIN | POLLOUT : POLLIN;
}

uint64_t qmp_deadline(const struct qmp *qmp)
{
	uint64_t earliest = qmp->state < READY ? qmp->greeting_deadline : UINT64_MAX;

	for (const struct command *command = qmp->open; command; command = command->next)
		if (command->deadline < earliest)
			earliest = command->deadline;
	return earliest;
}

static void set_silent(struct qmp *qmp, bool silent)
{
	if (qmp->silent == silent)
		return;
	qmp->silent = silent;
	if (qmp->watcher.on_silence)
		qmp->watcher.on_silence(qmp->watcher.ctx, silent);
}

/* Unlinks the command, tells its owner, frees it. */
static void finish(struct qmp *qmp, struct command *command, const struct postern_error *error,
	const json_t *result)
{
	for (struct command **link = &qmp->open; *link; link = &(*link)->next)
		if (*link == command) {
			*link = command->next;
			break;
		}
	qmp->n_open--;
	if (command->fn)
		command->fn(command->ctx, error, result);
	command_free(command);
}

static void send_waiting(struct qmp *qmp)
{
	for (struct command *command = qmp->open; command; command = command->next) {
		if (!command->request || json_line_append(&qmp->out, command->request) < 0)
			continue;
		json_decref(command->request);
		command->request = NULL;
	}
}

static int add_command(struct qmp *qmp, const char *name, json_t *arguments, uint64_t deadline,
	qmp_reply_fn fn, void *ctx)
{
	struct command *command = calloc(1, sizeof(*command));
	struct command **link = &qmp->open;

	if (!command) {
		json_decref(arguments);
		return -ENOMEM;
	}
	command->id = ++qmp->last_id;
	command->deadline = deadline;
	command->fn = fn;
	command->ctx = ctx;
	(void)snprintf(command->name, sizeof(command->name), "%s", name);
	command->request = json_pack(
		"{s:s, s:I, s:o*}", "execute", name, "id", command->id, "arguments", arguments);
	if (!command->request) {
		free(command);
		return -ENOMEM;
	}
	while (*link)
		link = &(*link)->next;
	*link = command;
	qmp->n_open++;
	return 0;
}

int qmp_call(struct qmp *qmp, const char *command, json_t *arguments, uint32_t timeout_ms,
	qmp_reply_fn fn, void *ctx)
{
	int r;

	if (qmp->state == ENDED || qmp->n_open >= QMP_OPEN_MAX) {
		json_decref(arguments);
		return qmp->state == ENDED ? -ENOTCONN : -EBUSY;
	}
	r = add_command(
		qmp, command, arguments, monotonic_ns() + timeout_ms * NSEC_PER_MSEC, fn, ctx);
	if (r == 0 && qmp->state == READY)
		send_waiting(qmp);
	return r;
}

static void on_negotiated(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct qmp *qmp = ctx;

	(void)result;
	if (error || qmp->state != NEGOTIATING)
		return; /* the deadline of the greeting ends the connection */
	qmp->state = READY;
	send_waiting(qmp);
}

static int take_greeting(struct qmp *qmp, const json_t *object)
{
	struct command *first;
	int r;

	/* Events before the greeting are no part of the protocol; older monitors have sent them. */
	if (json_object_get(object, "event"))
		return 0;
	if (qmp->state != GREETING || !json_is_object(json_object_get(object, "QMP")))
		return -EBADMSG;
	qmp->state = NEGOTIATING;
	r = add_command(qmp, "qmp_capabilities", NULL, qmp->greeting_deadline, on_negotiated, qmp);
	if (r < 0)
		return r;
	/* The last one made; those that wait for READY stay unsent. */
	for (first = qmp->open; first->next; first = first->next)
		;
	r = json_line_append(&qmp->out, first->request);
	json_decref(first->request);
	first->request = NULL;
	return r;
}

static void take_event(const struct qmp *qmp, const json_t *object)
{
	const char *name = json_field_string(object, "event", "");
	const json_t *data = json_object_get(object, "data");

	if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != strlen(name) || !*name)
		return;
	if (qmp->watcher.on_event)
		qmp->watcher.on_event(qmp->watcher.ctx, name, json_is_object(data) ? data : NULL);
}

static int take_answer(struct qmp *qmp, const json_t *object)
{
	const json_t *id = json_object_get(object, "id");
	const json_t *refusal = json_object_get(object, "error");
	const json_t *result = json_object_get(object, "return");
	struct command *command = qmp->open;
	struct postern_error error = {0};
	char text[384];

	while (command &&
		(command->request || !json_is_integer(id) || command->id != json_integer_value(id)))
		command = command->next;
	if (!command || !refusal == !result)
		return -EBADMSG;
	if (refusal) {
		const char *why = json_field_string(refusal, "desc", "no reason given");

		(void)postern_escape(why, strlen(why), text, sizeof(text));
		(void)fail(&error, POSTERN_ANSWERED, 0, "QEMU: %s: %s", command->name, text);
	}
	set_silent(qmp, false);
	finish(qmp, command, refusal ? &error : NULL, refusal ? NULL : result);
	return 0;
}

static int take_line(struct qmp *qmp, const json_t *object)
{
	if (qmp->state == GREETING)
		return take_greeting(qmp, object);
	if (json_object_get(object, "event")) {
		take_event(qmp, object);
		return 0;
	}
	return take_answer(qmp, object);
}

static int take_lines(struct qmp *qmp)
{
	json_t *object;
	int r;

	while ((r = json_reader_next(&qmp->reader, &object)) > 0) {
		r = take_line(qmp, object);
		json_decref(object);
		if (r < 0)
			return r;
	}
	return r;
}

/* Tells the owner of a command that QEMU has not answered it. What was sent stays open without an
 * owner: its answer may come yet. */
static void finish_late(struct qmp *qmp, struct command *command)
{
	struct postern_error error = {0};
	qmp_reply_fn fn = command->fn;

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT,
		"QEMU has not answered %s in time, and may do it yet: try again once `postern "
		"list` "
		"no longer says that the VMM does not answer, or end the VM with `postern stop -f`",
		command->name);
	command->deadline = UINT64_MAX;
	command->fn = NULL;
	if (fn)
		fn(command->ctx, &error, NULL);
	if (command->request)
		finish(qmp, command, &error, NULL);
}

/* -ETIMEDOUT without a greeting: nothing is known of what is at the other end then. */
static int check_deadlines(struct qmp *qmp)
{
	uint64_t now = monotonic_ns();
	struct command *command = qmp->open;

	if (qmp->state < READY && qmp->greeting_deadline <= now)
		return -ETIMEDOUT;
	while (command) {
		if (command->deadline > now) {
			command = command->next;
			continue;
		}
		set_silent(qmp, true);
		finish_late(qmp, command);
		command = qmp->open; /* its owner may have made others */
	}
	return 0;
}

static int end(struct qmp *qmp, int reason, struct postern_error *error)
{
	struct postern_error ended = {0};

	qmp->state = ENDED;
	if (reason == -EBADMSG || reason == -EMSGSIZE)
		(void)fail(&ended, POSTERN_PROTOCOL, -reason, "QEMU's monitor broke its protocol");
	else if (reason == -ETIMEDOUT)
		(void)fail(&ended, POSTERN_TIMED_OUT, ETIMEDOUT,
			"QEMU's monitor did not say who it is in time");
	else
		(void)fail(&ended, POSTERN_ABSENT, -reason,
			"the connection to QEMU's monitor was lost");
	while (qmp->open)
		finish(qmp, qmp->open, &ended, NULL);
	(void)fail(error, ended.failure, -reason, "%s", ended.message);
	return reason;
}

int qmp_dispatch(struct qmp *qmp, struct postern_error *error)
{
	ssize_t n;
	int r;

	if (qmp->state == ENDED)
		return fail(error, POSTERN_ABSENT, ENOTCONN, "not connected to QEMU's monitor");
	n = json_reader_read(&qmp->reader, qmp->fd);
	r = take_lines(qmp); /* also what came before an end */
	if (r == 0 && n == 0)
		r = -ECONNRESET;
	if (r == 0 && n < 0 && n != -EAGAIN)
		r = (int)n;
	if (r == 0)
		r = buffer_send(&qmp->out, qmp->fd, NULL);
	if (r == 0)
		r = check_deadlines(qmp);
	return r < 0 ? end(qmp, r, error) : 0;
}
