/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client of a VMM's HTTP interface: time, order, and a server that comes late or not at all. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "host/common/unix_socket.h"
#include "host/vmm/event_stream.h"
#include "host/vmm/http.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define NO_CONTENT "HTTP/1.1 204 No Content\r\n\r\n"
#define OBJECT     "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}"

/* What is said to one connection, and when. */
struct answer {
	unsigned after_ms;
	const char *bytes; /* NULL: nothing for ever */
};

static char path[] = "/tmp/postern-unit-http-XXXXXX/api.sock";
static struct loop loop;
static struct http *http;
static pid_t server;
static char silences[64]; /* "s" and "a", in their order */

static void on_silence(void *ctx, bool silent)
{
	(void)ctx;
	(void)strcat(silences, silent ? "s" : "a");
}

/* Answers one connection after the other, once its request is there. */
static _Noreturn void serve(int listener, const struct answer *answers, size_t n)
{
	char request[4096];

	for (size_t i = 0; i < n; i++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || read(fd, request, sizeof(request)) <= 0)
			_exit(1);
		(void)usleep(answers[i].after_ms * 1000);
		if (!answers[i].bytes)
			(void)pause();
		if (write(fd, answers[i].bytes, strlen(answers[i].bytes)) < 0)
			_exit(2);
		(void)close(fd);
	}
	_exit(0);
}

static void begin_server(const struct answer *answers, size_t n)
{
	int listener = unix_listen(path, 8);

	assert_true(listener >= 0);
	(void)fcntl(listener, F_SETFL, 0);
	server = fork();
	assert_true(server >= 0);
	if (server == 0)
		serve(listener, answers, n);
	(void)close(listener);
}

static int begin(void **state)
{
	struct http_peer peer = {.title = "The VMM", .base = "/v1", .on_silence = on_silence};

	(void)state;
	silences[0] = '\0';
	server = 0;
	return loop_init(&loop) < 0 || http_open(&loop, path, &peer, &http) < 0 ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	http_close(http);
	http = NULL;
	loop_done(&loop);
	(void)unlink(path);
	if (server > 0) {
		(void)kill(server, SIGKILL);
		(void)waitpid(server, NULL, 0);
	}
	return 0;
}

/* How one request ended. */
struct end {
	unsigned times;
	enum postern_failure failure;
	int number;
	char message[512];
	json_int_t a;
	unsigned order;
};

static unsigned orders;

static void take_end(struct end *ended, const struct postern_error *error)
{
	ended->times++;
	ended->order = ++orders;
	if (!error)
		return;
	ended->failure = error->failure;
	ended->number = error->sys_errno;
	(void)snprintf(ended->message, sizeof(ended->message), "%.511s", error->message);
}

static void on_done(void *ctx, const struct postern_error *error)
{
	take_end(ctx, error);
}

static void on_answer(void *ctx, const struct postern_error *error, const json_t *body)
{
	struct end *ended = ctx;

	take_end(ended, error);
	assert_true(!error == !!body);
	if (body)
		ended->a = json_integer_value(json_object_get(body, "a"));
}

static void put(struct end *ended, uint32_t timeout_ms)
{
	const struct http_request request = {.method = "PUT",
		.path = "/thing",
		.body = json_pack("{s:i}", "b", 2),
		.timeout_ms = timeout_ms,
		.done = on_done,
		.ctx = ended};

	*ended = (struct end){0};
	http_call(http, &request);
}

static void get(struct end *ended, uint32_t timeout_ms)
{
	const struct http_request request = {.method = "GET",
		.path = "/thing",
		.timeout_ms = timeout_ms,
		.answer = on_answer,
		.ctx = ended};

	*ended = (struct end){0};
	http_call(http, &request);
}

static void run_until(const struct end *ended)
{
	uint64_t until = monotonic_ns() + 5 * NSEC_PER_SEC;

	while (ended->times == 0 && monotonic_ns() < until)
		assert_int_equal(loop_once(&loop, 100), 0);
	assert_int_equal(ended->times, 1);
}

static void run_for(unsigned ms)
{
	uint64_t until = monotonic_ns() + ms * NSEC_PER_MSEC;

	while (monotonic_ns() < until)
		assert_int_equal(loop_once(&loop, 10), 0);
}

static void requests_are_done_in_their_order(void **state)
{
	static const struct answer answers[] = {{30, OBJECT}, {0, NO_CONTENT}, {0, OBJECT}};
	struct end one, two, three;

	(void)state;
	begin_server(answers, 3);
	get(&one, 5000);
	put(&two, 5000);
	get(&three, 5000);
	run_until(&three);
	assert_true(one.order < two.order && two.order < three.order);
	assert_int_equal(one.failure | two.failure | three.failure, POSTERN_DONE);
	assert_int_equal(one.a, 1);
	assert_string_equal(silences, "");
}

static void a_server_that_starts_late_is_waited_for(void **state)
{
	static const struct answer answers[] = {{0, OBJECT}};
	struct end ended;

	(void)state;
	get(&ended, 5000);
	run_for(50);
	assert_int_equal(ended.times, 0);
	begin_server(answers, 1);
	run_until(&ended);
	assert_int_equal(ended.failure, POSTERN_DONE);
}

static void one_that_never_starts_is_not(void **state)
{
	struct end ended;

	(void)state;
	get(&ended, 100);
	run_until(&ended);
	assert_int_equal(ended.failure, POSTERN_TIMED_OUT);
	assert_non_null(strstr(ended.message, "The VMM has not answered GET /thing in time"));
}

static void one_that_has_gone_is_told_at_once(void **state)
{
	static const struct answer answers[] = {{0, OBJECT}};
	struct end ended;

	(void)state;
	begin_server(answers, 1);
	get(&ended, 5000);
	run_until(&ended);
	assert_int_equal(waitpid(server, NULL, 0), server);
	server = 0;
	get(&ended, 5000);
	run_until(&ended);
	assert_int_equal(ended.failure, POSTERN_ABSENT);
	assert_int_equal(ended.number, ECONNREFUSED);
}

/* It may be done yet: what is behind it waits for its answer, which is nobody's. */
static void a_late_answer_is_not_anothers(void **state)
{
	static const struct answer answers[] = {{0, OBJECT}, {200, NO_CONTENT}, {0, OBJECT}};
	struct end first, late, next;

	(void)state;
	begin_server(answers, 3);
	get(&first, 5000);
	run_until(&first);
	put(&late, 50);
	get(&next, 5000);
	run_until(&late);
	assert_int_equal(late.failure, POSTERN_TIMED_OUT);
	assert_non_null(strstr(late.message, "may do it yet"));
	assert_string_equal(silences, "s");
	assert_int_equal(next.times, 0);
	run_until(&next);
	assert_int_equal(next.failure, POSTERN_DONE);
	assert_int_equal(next.a, 1);
	assert_int_equal(late.times, 1);
	assert_string_equal(silences, "sa");
}

static void what_waits_has_its_time_too(void **state)
{
	static const struct answer answers[] = {{0, OBJECT}, {0, NULL}};
	struct end first, stuck, waiting;

	(void)state;
	begin_server(answers, 2);
	get(&first, 5000);
	run_until(&first);
	put(&stuck, 5000);
	put(&waiting, 50);
	run_until(&waiting);
	assert_int_equal(waiting.failure, POSTERN_TIMED_OUT);
	assert_null(strstr(waiting.message, "may do it yet")); /* it was never sent */
	assert_int_equal(stuck.times, 0);
}

static void only_so_many_wait(void **state)
{
	static const struct answer answers[] = {{0, NULL}};
	struct end ends[HTTP_OPEN_MAX], one_more;

	(void)state;
	begin_server(answers, 1);
	for (size_t i = 0; i < HTTP_OPEN_MAX; i++)
		put(&ends[i], 5000);
	put(&one_more, 5000);
	assert_int_equal(one_more.times, 1);
	assert_int_equal(one_more.number, EBUSY);
	run_for(20);
	http_close(http); /* nobody is told */
	http = NULL;
	for (size_t i = 0; i < HTTP_OPEN_MAX; i++)
		assert_int_equal(ends[i].times, 0);
}

/* An answer that dribbles for ever has no more time than any other. */
static void a_body_that_does_not_end_is_late(void **state)
{
	static const struct answer answers[] = {
		{0, OBJECT}, {0, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"}};
	struct end first, ended;

	(void)state;
	begin_server(answers, 2);
	get(&first, 5000);
	run_until(&first);
	get(&ended, 5000);
	run_until(&ended);
	assert_int_equal(ended.failure, POSTERN_ABSENT); /* it was closed */
	assert_int_equal(ended.number, ECONNRESET);
}

static void a_path_is_as_long_as_sockets_have_it(void **state)
{
	struct http_peer peer = {.title = "The VMM", .base = ""};
	char longer[200];
	struct http *other;

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(http_open(&loop, longer, &peer, &other), -ENAMETOOLONG);
}

/* ---- Streams of events ---- */

static char names[256];
static unsigned broken;

static void on_event(void *ctx, const json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "e"));

	(void)ctx;
	(void)strcat(names, name ? name : "");
}

static void on_broken(void *ctx)
{
	(void)ctx;
	broken++;
}

/* Writes the pieces to a stream, one after the other. */
static void stream(const char *const *pieces, size_t n)
{
	struct event_stream events = {.on_event = on_event, .on_broken = on_broken};
	int fds[2];

	names[0] = '\0';
	broken = 0;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4 * EVENT_MAX) > 0);
	assert_int_equal(event_stream_open(&events, &loop, fds[0]), 0);
	for (size_t i = 0; i < n; i++) {
		assert_true(write(fds[1], pieces[i], strlen(pieces[i])) >= 0);
		run_for(2);
	}
	(void)close(fds[1]);
	run_for(5);
	event_stream_close(&events);
}

static void events_come_whole_or_in_pieces(void **state)
{
	static const char *const pieces[] = {
		"{\n \"e\": \"a\"\n}\n\n{\"e\": \"b\", \"p\": {\"x\": [1]}}", "\n\n  {\"e\"",
		": \"}\\", "\"{\"", "}\n", "", "\n{\"e\": \"c\"}"};

	(void)state;
	stream(pieces, ARRAY_SIZE(pieces));
	assert_string_equal(names, "ab}\"{c");
	assert_int_equal(broken, 0);
}

static void what_is_no_event_ends_the_stream(void **state)
{
	static const char *const bad[] = {
		"[1]", "nonsense", "{\"e\": }", "\"e\"", "{}}", "{\"e\": \"a\"}\n,"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		stream(&bad[i], 1);
		assert_int_equal(broken, 1);
	}
}

static void events_are_bounded(void **state)
{
	AUTO_FREE char *text = malloc(EVENT_MAX + 2);
	const char *piece = text;
	char deep[512];

	(void)state;
	assert_non_null(text);
	memset(text, ' ', EVENT_MAX + 1);
	text[0] = '{';
	text[EVENT_MAX + 1] = '\0';
	stream(&piece, 1);
	assert_int_equal(broken, 1);
	deep[0] = '\0';
	for (int i = 0; i < 40; i++)
		(void)strcat(deep, "{\"e\":");
	(void)strcat(deep, "1");
	for (int i = 0; i < 40; i++)
		(void)strcat(deep, "}");
	piece = deep;
	stream(&piece, 1);
	assert_int_equal(broken, 1);
}

static int make_folder(void **state)
{
	char *folder;

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	*strrchr(path, '/') = '\0';
	folder = mkdtemp(path);
	path[strlen(path)] = '/';
	return folder ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	*strrchr(path, '/') = '\0';
	return rmdir(path);
}

#define HTTP(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HTTP(requests_are_done_in_their_order),
		HTTP(a_server_that_starts_late_is_waited_for),
		HTTP(one_that_never_starts_is_not),
		HTTP(one_that_has_gone_is_told_at_once),
		HTTP(a_late_answer_is_not_anothers),
		HTTP(what_waits_has_its_time_too),
		HTTP(only_so_many_wait),
		HTTP(a_body_that_does_not_end_is_late),
		HTTP(a_path_is_as_long_as_sockets_have_it),
		HTTP(events_come_whole_or_in_pieces),
		HTTP(what_is_no_event_ends_the_stream),
		HTTP(events_are_bounded),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
