/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP client against a monitor that is played by the test, well-behaved and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/vmm/qmp.h"
#include "proto/clock.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"

static int monitor;
static struct qmp *qmp;

static char last_event[64];
static int answers;
static bool answered;
static struct postern_error last_error;
static json_int_t last_value;
static bool silent;

static void on_event(void *ctx, const char *name, const json_t *data)
{
	(void)ctx;
	(void)data;
	(void)snprintf(last_event, sizeof(last_event), "%s", name);
}

static void on_answer(void *ctx, const struct postern_error *error, const json_t *result)
{
	(void)ctx;
	answers++;
	answered = true;
	last_error = error ? *error : (struct postern_error){0};
	last_value = json_integer_value(json_object_get(result, "value"));
}

static void on_silence(void *ctx, bool now)
{
	(void)ctx;
	assert_true(now != silent);
	silent = now;
}

/* Dispatches until *done or the connection's end, as a program's loop does. */
static int run_until(const bool *done, struct postern_error *error)
{
	int r = 0;

	while (!*done && r == 0) {
		struct pollfd poll_fd = {.fd = qmp_fd(qmp), .events = qmp_events(qmp)};

		assert_true(poll(&poll_fd, 1, ms_until(qmp_deadline(qmp))) >= 0);
		r = qmp_dispatch(qmp, error);
	}
	return r;
}

static int connect_pair(void **state)
{
	const struct qmp_watcher watcher = {.on_event = on_event, .on_silence = on_silence};
	int pair[2];

	(void)state;
	silent = false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	monitor = pair[1];
	(void)fcntl(monitor, F_SETFL, O_NONBLOCK);
	last_event[0] = '\0';
	answers = 0;
	answered = false;
	last_error = (struct postern_error){0};
	return qmp_open(pair[0], 2000, &watcher, &qmp);
}

static int close_pair(void **state)
{
	(void)state;
	qmp_close(qmp);
	return close(monitor);
}

static void say(const char *text)
{
	assert_int_equal(write(monitor, text, strlen(text)), strlen(text));
}

static int dispatch(void)
{
	return qmp_dispatch(qmp, NULL);
}

/* What the client has sent and nobody has read. */
static const char *heard(void)
{
	static char text[4096];
	ssize_t n = read(monitor, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void greet(void)
{
	say(GREETING);
	assert_int_equal(dispatch(), 0);
	assert_string_equal(heard(), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	say("{\"return\": {}, \"id\": 1}\n");
	assert_int_equal(dispatch(), 0);
}

static void commands_wait_for_the_greeting(void **state)
{
	(void)state;
	assert_int_equal(qmp_call(qmp, "query-status", NULL, 1000, on_answer, NULL), 0);
	assert_int_equal(dispatch(), 0);
	assert_string_equal(heard(), "");
	say(GREETING);
	assert_int_equal(dispatch(), 0);
	assert_string_equal(heard(), "{\"execute\":\"qmp_capabilities\",\"id\":2}\n");
	say("{\"return\": {}, \"id\": 2}\n");
	assert_int_equal(dispatch(), 0);
	assert_string_equal(heard(), "{\"execute\":\"query-status\",\"id\":1}\n");
	say("{\"return\": {\"value\": 7}, \"id\": 1}\n");
	assert_int_equal(dispatch(), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(last_value, 7);
}

static void answers_are_matched_by_id(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_call(qmp, "a", NULL, 1000, NULL, NULL), 0);
	assert_int_equal(qmp_call(qmp, "b", json_pack("{s:i}", "x", 1), 1000, on_answer, NULL), 0);
	assert_int_equal(dispatch(), 0);
	assert_string_equal(heard(), "{\"execute\":\"a\",\"id\":2}\n"
				     "{\"execute\":\"b\",\"id\":3,\"arguments\":{\"x\":1}}\n");
	say("{\"return\": {\"value\": 5}, \"id\": 3}\n{\"return\": {}, \"id\": 2}\n");
	assert_int_equal(dispatch(), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(last_value, 5);
}

static void errors_are_told_and_escaped(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_call(qmp, "device_add", NULL, 1000, on_answer, NULL), 0);
	assert_int_equal(dispatch(), 0);
	say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no \\u001b[2J bus\"}, \"id\": "
	    "2}\n");
	assert_int_equal(dispatch(), 0);
	assert_int_equal(last_error.failure, POSTERN_ANSWERED);
	assert_string_equal(last_error.message, "QEMU: device_add: no \\x1b[2J bus");
	/* The connection lives. */
	assert_int_equal(qmp_call(qmp, "query-status", NULL, 1000, on_answer, NULL), 0);
}

static void events_come_through_also_in_pieces(void **state)
{
	(void)state;
	say("{\"event\": \"EARLY\", \"data\": {}}\n");
	assert_int_equal(dispatch(), 0);
	assert_string_equal(last_event, "");
	greet();
	say("{\"event\": \"DEVICE_");
	assert_int_equal(dispatch(), 0);
	say("DELETED\", \"data\": {\"device\": \"share0\"}}\r\n");
	assert_int_equal(dispatch(), 0);
	assert_string_equal(last_event, "DEVICE_DELETED");
	say("{\"event\": \"bad\\u001bname\"}\n");
	assert_int_equal(dispatch(), 0);
	assert_string_equal(last_event, "DEVICE_DELETED");
}

static void unknown_quantities_do_not_break_a_line(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_call(qmp, "qom-get", NULL, 1000, on_answer, NULL), 0);
	assert_int_equal(dispatch(), 0);
	say("{\"return\": {\"value\": 18446744073709551615}, \"id\": 2}\n");
	assert_int_equal(dispatch(), 0);
	assert_int_equal(last_value, -1);
}

/* Each of these ends the connection, and every open command is told once. */
static void broken_protocol_ends_the_connection(void **state)
{
	static const char *const lines[] = {
		"{\"return\": {}, \"id\": 99}\n",
		"{\"return\": {}}\n",
		"{\"return\": {}, \"id\": \"2\"}\n",
		"{\"return\": {}, \"error\": {}, \"id\": 2}\n",
		"{\"id\": 2}\n",
		"[1, 2]\n",
		"not json\n",
		"{\"return\": {}, \"id\": 2\n}\n",
		"{\"QMP\": {}}\n",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (i > 0)
			assert_int_equal(connect_pair(state), 0);
		greet();
		assert_int_equal(qmp_call(qmp, "stop", NULL, 1000, on_answer, NULL), 0);
		assert_int_equal(dispatch(), 0);
		say(lines[i]);
		assert_int_equal(dispatch(), -EBADMSG);
		assert_int_equal(answers, 1);
		assert_int_equal(last_error.failure, POSTERN_PROTOCOL);
		assert_int_equal(dispatch(), -ENOTCONN);
		assert_int_equal(qmp_call(qmp, "cont", NULL, 1000, NULL, NULL), -ENOTCONN);
		if (i + 1 < sizeof(lines) / sizeof(lines[0]))
			assert_int_equal(close_pair(state), 0);
	}
}

static void deep_nesting_is_refused_before_it_is_parsed(void **state)
{
	char *deep = malloc(200001);

	(void)state;
	greet();
	memset(deep, '[', 100000);
	memset(deep + 100000, ']', 100000);
	deep[200000] = '\0';
	(void)fcntl(monitor, F_SETFL, 0);
	assert_int_equal(write(monitor, "{\"a\":", 5), 5);
	assert_int_equal(write(monitor, deep, 100000), 100000);
	while (dispatch() == 0 &&
		poll(&(struct pollfd){.fd = qmp_fd(qmp), .events = POLLIN}, 1, 0) > 0)
		;
	assert_int_equal(write(monitor, deep + 100000, 100000), 100000);
	while (dispatch() == 0 &&
		poll(&(struct pollfd){.fd = qmp_fd(qmp), .events = POLLIN}, 1, 0) > 0)
		;
	assert_int_equal(write(monitor, "}\n", 2), 2);
	assert_int_equal(dispatch(), -EBADMSG);
	free(deep);
}

static void endless_line_is_cut_off(void **state)
{
	static char block[65536];
	size_t sent = 0;
	int r = 0;

	(void)state;
	greet();
	memset(block, 'x', sizeof(block));
	while (r == 0 && sent < 100u << 20) {
		ssize_t n = write(monitor, block, sizeof(block));

		if (n > 0)
			sent += (size_t)n;
		r = dispatch();
	}
	assert_int_equal(r, -EMSGSIZE);
	assert_true(sent < 4u << 20);
}

/* QEMU may be stopped, or wait for a disk: its guest is not to pay for that. */
static void silence_fails_the_command_alone(void **state)
{
	uint64_t start = monotonic_ns();

	(void)state;
	greet();
	assert_int_equal(qmp_call(qmp, "device_add", NULL, 50, on_answer, NULL), 0);
	assert_int_equal(run_until(&answered, NULL), 0);
	assert_int_equal(last_error.failure, POSTERN_TIMED_OUT);
	assert_non_null(strstr(last_error.message, "device_add"));
	assert_true(silent);
	assert_true(monotonic_ns() - start < NSEC_PER_SEC);
	assert_true(qmp_deadline(qmp) == UINT64_MAX);

	/* The next one is sent, the late answer is nobody's, and the next one's is its own. */
	assert_int_equal(qmp_call(qmp, "b", NULL, 1000, on_answer, NULL), 0);
	assert_int_equal(dispatch(), 0);
	say("{\"return\": {\"value\": 1}, \"id\": 2}\n");
	assert_int_equal(dispatch(), 0);
	assert_int_equal(answers, 1);
	assert_false(silent);
	say("{\"return\": {\"value\": 5}, \"id\": 3}\n");
	assert_int_equal(dispatch(), 0);
	assert_int_equal(answers, 2);
	assert_int_equal(last_value, 5);

	/* A second late answer breaks the protocol. */
	say("{\"return\": {}, \"id\": 2}\n");
	assert_int_equal(dispatch(), -EBADMSG);
}

static void call_again(void *ctx, const struct postern_error *error, const json_t *result)
{
	(void)result;
	assert_int_equal(error->failure, POSTERN_TIMED_OUT);
	assert_int_equal(qmp_call(qmp, "undo", NULL, 1000, ctx ? NULL : on_answer, NULL), 0);
}

/* Whoever is told may send what undoes it, and the rest is told all the same. */
static void many_are_late_at_once(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_call(qmp, "a", NULL, 20, call_again, qmp), 0);
	assert_int_equal(qmp_call(qmp, "b", NULL, 20, NULL, NULL), 0);
	assert_int_equal(qmp_call(qmp, "c", NULL, 20, on_answer, NULL), 0);
	assert_int_equal(run_until(&answered, NULL), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(dispatch(), 0);
	assert_non_null(strstr(heard(), "undo"));
}

static void no_greeting_is_a_timeout(void **state)
{
	int pair[2];
	bool never = false;

	(void)state;
	qmp_close(qmp);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(qmp_open(pair[0], 50, &(struct qmp_watcher){0}, &qmp), 0);
	assert_int_equal(run_until(&never, NULL), -ETIMEDOUT);
	(void)close(pair[1]);
}

static void end_of_file_tells_every_command(void **state)
{
	(void)state;
	greet();
	for (int i = 0; i < 5; i++)
		assert_int_equal(qmp_call(qmp, "stop", NULL, 1000, on_answer, NULL), 0);
	assert_int_equal(shutdown(monitor, SHUT_RDWR), 0);
	assert_true(dispatch() < 0);
	assert_int_equal(answers, 5);
	assert_int_equal(last_error.failure, POSTERN_ABSENT);
}

static void commands_without_answer_are_bounded(void **state)
{
	(void)state;
	greet();
	for (int i = 0; i < QMP_OPEN_MAX; i++)
		assert_int_equal(qmp_call(qmp, "stop", NULL, 20, i ? NULL : on_answer, NULL), 0);
	assert_int_equal(run_until(&answered, NULL), 0);
	/* A late one may still be answered. */
	assert_int_equal(qmp_call(qmp, "stop", NULL, 1000, NULL, NULL), -EBUSY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, connect_pair, close_pair)
	const struct CMUnitTest tests[] = {
		TEST(commands_wait_for_the_greeting),
		TEST(answers_are_matched_by_id),
		TEST(errors_are_told_and_escaped),
		TEST(events_come_through_also_in_pieces),
		TEST(unknown_quantities_do_not_break_a_line),
		TEST(broken_protocol_ends_the_connection),
		TEST(deep_nesting_is_refused_before_it_is_parsed),
		TEST(endless_line_is_cut_off),
		TEST(silence_fails_the_command_alone),
		TEST(many_are_late_at_once),
		TEST(no_greeting_is_a_timeout),
		TEST(end_of_file_tells_every_command),
		TEST(commands_without_answer_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
