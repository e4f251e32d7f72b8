/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's control socket against clients of all kinds. */
/* needs: host/supervisor/control.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/common/remove.h"
#include "host/common/unix_socket.h"
#include "host/supervisor/control.h"

static char folder[64], path[128];
static struct loop loop;
static struct control control;
static struct request *kept;
static int left;
static int handed, handed_result;

static void echo(void *ctx, struct request *request, const json_t *arguments)
{
	(void)ctx;
	request_return(request, json_deep_copy(arguments));
}

static void refuse(void *ctx, struct request *request, const json_t *arguments)
{
	struct postern_error error = {
		.failure = POSTERN_TIMED_OUT, .sys_errno = ETIMEDOUT, .message = "too late"};

	(void)ctx;
	(void)arguments;
	request_fail(request, &error, json_pack("{s:i}", "more", 1));
}

static void on_gone(struct request *request, void *ctx)
{
	(void)request;
	(void)ctx;
	left++;
}

static void later(void *ctx, struct request *request, const json_t *arguments)
{
	(void)ctx;
	(void)arguments;
	request->gone = on_gone;
	kept = request;
	request_progress(request, json_pack("{s:i}", "step", 1));
}

static void listen_in(void *ctx, struct request *request, const json_t *arguments)
{
	(void)ctx;
	(void)arguments;
	request_subscribe(request);
	request_return(request, NULL);
}

static void hand_over(void *ctx, struct request *request, const json_t *arguments)
{
	struct postern_error error = {.failure = POSTERN_USAGE};

	(void)ctx;
	handed = -EBADF;
	handed_result = request_hand_over(request, json_deep_copy(arguments), &handed);
	if (handed_result < 0)
		request_fail(request, &error, NULL);
}

static const struct control_command table[] = {{"echo", echo}, {"refuse", refuse}, {"later", later},
	{"listen", listen_in}, {"take", hand_over}, {0}};

static int start(void **state)
{
	int fd;

	(void)state;
	(void)strcpy(folder, "/tmp/postern-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/s", folder);
	fd = unix_listen(path, 4);
	kept = NULL;
	left = 0;
	return fd < 0 || loop_init(&loop) < 0 ? -1 : control_open(&control, &loop, fd, table, NULL);
}

static int stop(void **state)
{
	(void)state;
	control_close(&control, 100);
	loop_done(&loop);
	return remove_tree(folder);
}

static void turn(void)
{
	for (int i = 0; i < 20; i++)
		(void)loop_once(&loop, 1);
}

static int client(void)
{
	int fd = unix_connect(path, 1000);

	assert_true(fd >= 0);
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	turn();
	return fd;
}

static const char *ask(int fd, const char *text)
{
	static char answer[4096];
	ssize_t n;

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	turn();
	n = read(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	return n == 0 ? "closed" : answer;
}

static void requests_are_answered_in_order(void **state)
{
	int fd = client();

	(void)state;
	assert_string_equal(ask(fd, "{\"command\":\"echo\",\"arguments\":{\"a\":1}}\n"
				    "{\"command\":\"echo\",\"arguments\":{\"a\":2}}\n"),
		"{\"return\":{\"a\":1}}\n{\"return\":{\"a\":2}}\n");
	assert_string_equal(ask(fd, "{\"command\":\"refuse\"}\n"),
		"{\"error\":{\"failure\":\"timed-out\",\"errno\":110,\"message\":\"too late\","
		"\"more\":1}}\n");
	assert_string_equal(ask(fd, "{\"command\":\"nonsense\"}\n"),
		"{\"error\":{\"failure\":\"usage\",\"errno\":95,\"message\":\"the supervisor has "
		"no such "
		"command\"}}\n");
	assert_string_equal(ask(fd, "{}\n"), "{\"error\":{\"failure\":\"usage\",\"errno\":95,"
					     "\"message\":\"the supervisor has no such "
					     "command\"}}\n");
	(void)close(fd);
}

static void next_request_waits_for_the_answer(void **state)
{
	int fd = client();

	(void)state;
	assert_string_equal(ask(fd, "{\"command\":\"later\"}\n{\"command\":\"echo\"}\n"),
		"{\"progress\":{\"step\":1}}\n");
	request_return(kept, NULL);
	assert_string_equal(ask(fd, ""), "{\"return\":{}}\n{\"return\":{}}\n");
	(void)close(fd);
}

static void client_that_leaves_is_noticed(void **state)
{
	int fd = client();

	(void)state;
	(void)ask(fd, "{\"command\":\"later\"}\n");
	assert_int_equal(left, 0);
	(void)close(fd);
	turn();
	assert_int_equal(left, 1);
	assert_null(kept->connection);
	request_progress(kept, NULL);
	request_return(kept, json_pack("{s:i}", "a", 1));
}

static void broken_clients_are_dropped_and_others_go_on(void **state)
{
	static const char *const texts[] = {"not json\n", "[]\n", "{\"a\":\n"};
	int good = client();
	char *line = malloc(CONTROL_LINE_MAX + 100);

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int fd = client();

		assert_string_equal(ask(fd, texts[i]), "closed");
		(void)close(fd);
	}
	{
		int fd = client();

		memset(line, 'x', CONTROL_LINE_MAX + 99);
		line[CONTROL_LINE_MAX + 99] = '\0';
		assert_true(send(fd, line, strlen(line), MSG_NOSIGNAL) > 0);
		for (int i = 0; i < 10; i++)
			turn();
		assert_true(send(fd, "x", 1, MSG_NOSIGNAL) < 0);
		(void)close(fd);
	}
	free(line);
	assert_string_equal(ask(good, "{\"command\":\"echo\"}\n"), "{\"return\":{}}\n");
	assert_int_equal(control.n_connections, 1);
	(void)close(good);
}

static void subscriber_that_does_not_read_is_dropped(void **state)
{
	int deaf = client(), good = client();
	char text[1000];

	(void)state;
	memset(text, 'e', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_string_equal(ask(deaf, "{\"command\":\"listen\"}\n"), "{\"return\":{}}\n");
	for (int i = 0; i < 4000 && control.n_connections == 2; i++) {
		control_event(&control, json_pack("{s:s}", "text", text));
		(void)loop_once(&loop, 0);
	}
	assert_int_equal(control.n_connections, 1);
	assert_string_equal(ask(good, "{\"command\":\"echo\"}\n"), "{\"return\":{}}\n");
	(void)close(deaf);
	(void)close(good);
}

static void a_connection_is_handed_over(void **state)
{
	int fd = client();
	char text[16] = "";

	(void)state;
	assert_string_equal(ask(fd, "{\"command\":\"take\",\"arguments\":{\"a\":1}}\n"),
		"{\"return\":{\"a\":1}}\n");
	assert_int_equal(handed_result, 0);
	assert_int_equal(control.n_connections, 0);
	/* From here on both directions are somebody else's. */
	assert_int_equal(send(fd, "not json\n", 9, MSG_NOSIGNAL), 9);
	turn();
	assert_int_equal(read(handed, text, sizeof(text)), 9);
	assert_int_equal(send(handed, "hello", 5, MSG_NOSIGNAL), 5);
	assert_string_equal(ask(fd, ""), "hello");
	(void)close(handed);
	(void)close(fd);
}

static void one_that_is_in_use_is_not_handed_over(void **state)
{
	int fd = client(), subscriber = client();

	(void)state;
	assert_non_null(strstr(ask(fd, "{\"command\":\"take\"}\n{\"command\":\"echo\"}\n"),
		"}}\n{\"return\":{}}\n"));
	assert_int_equal(handed_result, -EBUSY);
	(void)ask(subscriber, "{\"command\":\"listen\"}\n");
	assert_non_null(strstr(ask(subscriber, "{\"command\":\"take\"}\n"), "error"));
	assert_int_equal(handed_result, -EBUSY);
	assert_int_equal(control.n_connections, 2);
	(void)close(fd);
	(void)close(subscriber);
}

static void connections_are_bounded(void **state)
{
	int fds[CONTROL_CONNECTIONS + 4];

	(void)state;
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fds[i] = client();
	assert_int_equal(control.n_connections, CONTROL_CONNECTIONS);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		(void)close(fds[i]);
	turn();
	turn();
	assert_int_equal(control.n_connections, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(requests_are_answered_in_order),
		TEST(next_request_waits_for_the_answer),
		TEST(client_that_leaves_is_noticed),
		TEST(broken_clients_are_dropped_and_others_go_on),
		TEST(subscriber_that_does_not_read_is_dropped),
		TEST(a_connection_is_handed_over),
		TEST(one_that_is_in_use_is_not_handed_over),
		TEST(connections_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
