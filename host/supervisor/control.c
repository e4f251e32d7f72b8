/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

struct connection {
	struct control *control;
	struct connection *next;
	int fd;
	struct loop_io io;
	struct json_reader reader;
	struct buffer out;
	struct request *open;
	bool subscribed;
	bool running; /* a command's function is on the stack */
	bool failed;  /* shut down: the loop will close it */
	bool handed_over;
};

static void take_requests(struct connection *connection);

static void connection_close(struct connection *connection)
{
	struct control *control = connection->control;
	struct request *request = connection->open;

	for (struct connection **link = &control->connections; *link; link = &(*link)->next)
		if (*link == connection) {
			*link = connection->next;
			break;
		}
	control->n_connections--;
	if (request)
		request->connection = NULL;
	loop_io_del(&connection->io);
	json_reader_done(&connection->reader);
	buffer_clear(&connection->out);
	(void)fd_close(connection->fd);
	free(connection);
	if (request && request->gone)
		request->gone(request, control->ctx);
}

static int flush(struct connection *connection)
{
	return buffer_send(&connection->out, connection->fd, NULL);
}

static void watch(struct connection *connection)
{
	/* No reading while a request is open: one at a time. */
	uint32_t events = connection->open ? 0 : EPOLLIN;

	if (buffer_len(&connection->out) > 0)
		events |= EPOLLOUT;
	(void)loop_io_set(&connection->io, events);
}

/* The connection may be in use further up the stack: the loop sees the hang-up and closes it. */
static void give_up(struct connection *connection)
{
	connection->failed = true;
	(void)shutdown(connection->fd, SHUT_RDWR);
}

/* Queues a line; value is taken over. */
static void put(struct connection *connection, const char *key, json_t *value)
{
	AUTO_JSON json_t *line = json_pack("{s:o}", key, value);

	if (connection->failed)
		return;
	if (!line || json_line_append(&connection->out, line) < 0 || flush(connection) < 0 ||
		buffer_len(&connection->out) > CONTROL_OUT_MAX)
		give_up(connection);
	watch(connection);
}

static json_t *or_empty(json_t *object)
{
	return object ? object : json_object();
}

void request_progress(struct request *request, json_t *progress)
{
	if (request->connection)
		put(request->connection, "progress", or_empty(progress));
	else
		json_decref(progress);
}

static void answer(struct request *request, const char *key, json_t *value)
{
	struct connection *connection = request->connection;

	free(request);
	if (!connection) {
		json_decref(value);
		return;
	}
	connection->open = NULL;
	put(connection, key, value);
	if (!connection->running)
		take_requests(connection);
}

void request_return(struct request *request, json_t *result)
{
	answer(request, "return", or_empty(result));
}

void request_fail(struct request *request, const struct postern_error *error, json_t *extra)
{
	json_t *object = json_pack("{s:s, s:i, s:s}", "failure", failure_name(error->failure),
		"errno", error->sys_errno, "message", error->message);

	if (object && extra)
		(void)json_object_update(object, extra);
	json_decref(extra);
	answer(request, "error", or_empty(object));
}

int request_hand_over(struct request *request, json_t *result, int *ret_fd)
{
	struct connection *connection = request->connection;
	AUTO_JSON json_t *line = json_pack("{s:o}", "return", or_empty(result));
	int r = line ? 0 : -ENOMEM;

	if (connection->subscribed || buffer_len(&connection->out) > 0 ||
		buffer_len(&connection->reader.in) > 0)
		r = -EBUSY;
	if (r == 0)
		r = json_line_append(&connection->out, line);
	if (r == 0)
		r = flush(connection);
	/* A line on an empty socket: what cannot be sent now never could. */
	if (r == 0 && buffer_len(&connection->out) > 0)
		r = -EPIPE;
	if (r < 0)
		return r;
	loop_io_del(&connection->io);
	*ret_fd = take_fd(&connection->fd);
	connection->handed_over = true;
	connection->open = NULL;
	free(request);
	return 0;
}

void request_subscribe(struct request *request)
{
	if (request->connection)
		request->connection->subscribed = true;
}

void control_event(struct control *control, json_t *event)
{
	(void)json_object_set_new(
		event, "time_ns", json_integer((json_int_t)clock_ns(CLOCK_REALTIME)));
	for (struct connection *connection = control->connections; connection;
		connection = connection->next)
		if (connection->subscribed)
			put(connection, "event", json_incref(event));
	json_decref(event);
}

static void run_command(struct connection *connection, const json_t *line)
{
	const struct control_command *row = connection->control->commands;
	const char *name = json_field_string(line, "command", "");
	json_t *arguments = json_object_get(line, "arguments");
	struct request *request = calloc(1, sizeof(*request));
	AUTO_JSON json_t *none = json_object();
	struct postern_error error = {0};

	if (!request) {
		give_up(connection);
		return;
	}
	request->connection = connection;
	connection->open = request;
	while (row->name && strcmp(row->name, name) != 0)
		row++;
	connection->running = true;
	if (!row->name) {
		(void)fail(&error, POSTERN_USAGE, EOPNOTSUPP, "the supervisor has no such command");
		request_fail(request, &error, NULL);
	} else {
		row->fn(connection->control->ctx, request,
			json_is_object(arguments) ? arguments : none);
	}
	connection->running = false;
}

static void take_requests(struct connection *connection)
{
	json_t *line;
	int r;

	while (!connection->open && !connection->failed && !connection->handed_over) {
		r = json_reader_next(&connection->reader, &line);
		if (r == 0)
			break;
		if (r < 0) {
			give_up(connection);
			break;
		}
		run_command(connection, line);
		json_decref(line);
	}
	if (connection->handed_over)
		connection_close(connection);
	else
		watch(connection);
}

static void on_connection(struct loop_io *io, uint32_t events)
{
	struct connection *connection = container_of(io, struct connection, io);
	ssize_t n = -EAGAIN;

	if (events & EPOLLIN)
		n = json_reader_read(&connection->reader, connection->fd);
	if (flush(connection) < 0 || n == 0 || (n < 0 && n != -EAGAIN) ||
		(events & (EPOLLHUP | EPOLLERR))) {
		connection_close(connection);
		return;
	}
	take_requests(connection);
}

static bool is_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static void on_client(struct listener *listener, int accepted, const struct sockaddr_storage *peer)
{
	struct control *control = container_of(listener, struct control, listener);
	AUTO_CLOSE int fd = accepted;
	struct connection *connection;

	(void)peer;
	if (control->n_connections >= CONTROL_CONNECTIONS || !is_allowed(fd))
		return;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return;
	connection->control = control;
	connection->io.fn = on_connection;
	connection->reader.limit = CONTROL_LINE_MAX;
	if (loop_io_add(control->loop, &connection->io, fd, EPOLLIN) < 0) {
		free(connection);
		return;
	}
	connection->fd = take_fd(&fd);
	connection->next = control->connections;
	control->connections = connection;
	control->n_connections++;
}

int control_open(struct control *control, struct loop *loop, int listener,
	const struct control_command *commands, void *ctx)
{
	*control = (struct control){.loop = loop, .commands = commands, .ctx = ctx};
	return listener_start(&control->listener, loop, listener, on_client);
}

void control_close(struct control *control, int timeout_ms)
{
	uint64_t until = monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;

	listener_close(&control->listener);
	for (struct connection *connection = control->connections, *next; connection;
		connection = next) {
		struct pollfd poll_fd = {.fd = connection->fd, .events = POLLOUT};

		while (flush(connection) == 0 && buffer_len(&connection->out) > 0 &&
			poll(&poll_fd, 1, ms_until(until)) > 0)
			;
		free(connection->open); /* nobody is left to answer it */
		connection->open = NULL;
		next = connection->next;
		connection_close(connection);
	}
}
