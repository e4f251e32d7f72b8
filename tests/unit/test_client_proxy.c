/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client on its way in: sockets that are not there, and proxies of all kinds. */
#include "tests/unit/fake_agent.h"

#include <sys/un.h>

#include "proto/clock.h"

static char dir[] = "/tmp/postern-unit-XXXXXX", path[64];
static int listener;

static int set_up(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/socket", dir);
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof(un)), 0);
	return listen(listener, 8);
}

static int tear_down(void **state)
{
	(void)state;
	(void)close(listener);
	(void)unlink(path);
	return rmdir(dir);
}

/* A client whose CONNECT line has arrived. */
static void dial(struct fake *fake, const struct postern_options *options)
{
	char address[80], line[64];
	ssize_t n;

	*fake = (struct fake){.reader.limit = FRAME_CEILING};
	(void)snprintf(address, sizeof(address), "unix:%s:4242", path);
	assert_int_equal(postern_client_start(address, options, &fake->client, &fake->error), 0);
	fake->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fake->fd >= 0);
	assert_int_equal(fake_pump(fake), 0);
	n = read(fake->fd, line, sizeof(line));
	assert_int_equal(n, strlen("CONNECT 4242\n"));
	assert_memory_equal(line, "CONNECT 4242\n", (size_t)n);
}

static void expect_hello(struct fake *fake)
{
	assert_int_equal(fake_pump(fake), 0);
	assert_int_equal(fake_take(fake)->kind_case, POSTERN__V1__TO_AGENT__KIND_HELLO);
	fake_hello_of(fake, POSTERN_MAJOR, 0);
	assert_int_equal(fake_pump(fake), 0);
	assert_true(postern_client_ready(fake->client));
}

UNIT(ok_in_one_piece)
{
	struct fake fake;

	dial(&fake, NULL);
	FAKE_RAW(&fake, "OK 1073741824\n");
	expect_hello(&fake);
	fake_stop(&fake);
}

UNIT(ok_in_many_pieces)
{
	static const char line[] = "OK 1073741824\n";
	struct fake fake;

	dial(&fake, NULL);
	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		assert_int_equal(fake_pump(&fake), 0);
		assert_int_equal(fake.client->stream.phase, STREAM_PROXY);
		fake_raw(&fake, line + i, 1);
	}
	expect_hello(&fake);
	fake_stop(&fake);
}

/* What stands behind the line is the agent's, though it came with it. */
UNIT(bytes_behind_the_line_are_kept)
{
	struct fake fake;

	dial(&fake, NULL);
	FAKE_RAW(&fake, "OK 5\n");
	fake_hello_of(&fake, POSTERN_MAJOR, 0);
	assert_int_equal(fake_pump(&fake), 0);
	assert_true(postern_client_ready(fake.client));
	fake_stop(&fake);
}

UNIT(nothing_is_said_before_ok)
{
	struct fake fake;
	char byte;

	dial(&fake, NULL);
	assert_int_equal(recv(fake.fd, &byte, 1, MSG_DONTWAIT), -1);
	FAKE_RAW(&fake, "OK 5");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(recv(fake.fd, &byte, 1, MSG_DONTWAIT), -1);
	fake_stop(&fake);
}

UNIT(a_line_of_32_bytes_passes_and_33_do_not)
{
	struct fake fake;

	dial(&fake, NULL);
	FAKE_RAW(&fake, "OK 12345678901234567890123456789\n");
	expect_hello(&fake);
	fake_stop(&fake);
	dial(&fake, NULL);
	FAKE_RAW(&fake, "OK 123456789012345678901234567890\n");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
	/* No end of the line at all. */
	dial(&fake, NULL);
	FAKE_RAW(&fake, "OK 12345678901234567890123456789012345678901234567890");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(anything_but_ok_is_a_breach)
{
	static const char *const lines[] = {
		"\n", "OK\n", "ok 1\n", "NO 1\n", " OK 1\n", "ERR refused\n", "OKAY 1\n"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct fake fake;

		dial(&fake, NULL);
		fake_raw(&fake, lines[i], strlen(lines[i]));
		ENDED(&fake, POSTERN_PROTOCOL);
		assert_non_null(strstr(fake.error.message, "OK"));
		fake_stop(&fake);
	}
}

UNIT(a_proxy_that_hangs_up_means_absent)
{
	static const char *const starts[] = {"", "O", "OK 1"};

	for (size_t i = 0; i < 3; i++) {
		struct fake fake;

		dial(&fake, NULL);
		if (starts[i][0])
			fake_raw(&fake, starts[i], strlen(starts[i]));
		fake_hang_up(&fake);
		ENDED(&fake, POSTERN_ABSENT);
		assert_non_null(strstr(fake.error.message, "4242"));
		fake_stop(&fake);
	}
}

UNIT(a_silent_proxy_times_out)
{
	const struct postern_options options = {.connect_ms = 20};
	struct fake fake;

	dial(&fake, &options);
	while (ms_until(postern_client_deadline(fake.client)) > 0)
		(void)poll(NULL, 0, 5);
	assert_int_equal(postern_client_dispatch(fake.client, &fake.error), -ETIMEDOUT);
	assert_int_equal(fake.error.failure, POSTERN_TIMED_OUT);
	fake_stop(&fake);
}

/* Opens this address and returns how it failed. */
static enum postern_failure failure_of(const char *address, int *ret)
{
	struct postern_error error = {0};
	struct postern_client *client = NULL;
	enum postern_failure failure;

	*ret = postern_client_open(address, NULL, &client, &error);
	assert_true(*ret < 0);
	assert_null(client);
	assert_true(error.message[0] != '\0');
	failure = error.failure;
	postern_error_clear(&error);
	return failure;
}

UNIT(failures_to_connect_are_told_apart)
{
	char address[80];
	int r, dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	assert_int_equal(failure_of("nonsense", &r), POSTERN_USAGE);
	assert_int_equal(r, -EINVAL);
	(void)snprintf(address, sizeof(address), "unix:%s/nobody", dir);
	assert_int_equal(failure_of(address, &r), POSTERN_ABSENT);
	assert_int_equal(r, -ENOENT);
	/* A socket file that nobody listens on any more. */
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%.60s/dead", dir);
	assert_int_equal(bind(dead, (struct sockaddr *)&un, sizeof(un)), 0);
	(void)snprintf(address, sizeof(address), "local:%s/dead", dir);
	assert_int_equal(failure_of(address, &r), POSTERN_ABSENT);
	assert_int_equal(r, -ECONNREFUSED);
	(void)close(dead);
	(void)unlink(un.sun_path);
}

UNIT(opening_blocks_until_the_hello)
{
	struct postern_options options = {.connect_ms = 30};
	struct postern_error error = {0};
	struct postern_client *client = NULL;
	uint64_t start = monotonic_ns();
	char address[80];

	/* The listener's queue takes the connection; nobody answers. */
	(void)snprintf(address, sizeof(address), "local:%s", path);
	assert_int_equal(postern_client_open(address, &options, &client, &error), -ETIMEDOUT);
	assert_true(monotonic_ns() - start >= 30 * NSEC_PER_MSEC);
	assert_int_equal(error.failure, POSTERN_TIMED_OUT);
	assert_null(client);
	postern_error_clear(&error);
	(void)close(accept(listener, NULL, NULL));
}

UNIT(a_full_queue_is_no_breach)
{
	struct postern_options options = {.connect_ms = 30};
	struct postern_client *clients[64] = {NULL};
	struct postern_error error = {0};
	char address[80];
	int r = 0, n = 0;

	(void)snprintf(address, sizeof(address), "local:%s", path);
	while (r == 0 && n < 64)
		r = postern_client_start(address, &options, &clients[n++], &error);
	/* A UNIX socket with a full queue answers EAGAIN at once. */
	assert_true(r < 0);
	assert_int_equal(error.failure, POSTERN_ABSENT);
	for (int i = 0; i < n; i++)
		postern_client_close(clients[i]);
	postern_error_clear(&error);
	for (int i = 1; i < n; i++)
		(void)close(accept(listener, NULL, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(ok_in_one_piece),
		RUN(ok_in_many_pieces),
		RUN(bytes_behind_the_line_are_kept),
		RUN(nothing_is_said_before_ok),
		RUN(a_line_of_32_bytes_passes_and_33_do_not),
		RUN(anything_but_ok_is_a_breach),
		RUN(a_proxy_that_hangs_up_means_absent),
		RUN(a_silent_proxy_times_out),
		RUN(failures_to_connect_are_told_apart),
		RUN(opening_blocks_until_the_hello),
		RUN(a_full_queue_is_no_breach),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
