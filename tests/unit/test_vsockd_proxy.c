/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hybrid socket: the CONNECT line, the answer, and what it takes to be refused. */
/* needs: host/vsockd */
#include "tests/unit/vsockd_mock.h"

static int parse(const char *text, size_t len, struct proxy_request *request)
{
	return proxy_parse(text, len, request);
}

static void parser_accepts(void **state)
{
	static const struct {
		const char *line;
		uint32_t port;
		bool root;
	} cases[] = {
		{"CONNECT 0\n", 0, false},
		{"CONNECT 767\n", 767, false},
		{"connect 767\r\n", 767, false},
		{"CoNnEcT 4294967294\n", 4294967294U, false},
		{"CONNECT 5 root\n", 5, true},
		{"CONNECT 4294967294 root\r\n", 4294967294U, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proxy_request request;
		int len = (int)strlen(cases[i].line);
		char more[64];

		assert_int_equal(parse(cases[i].line, (size_t)len, &request), len);
		assert_int_equal(request.port, cases[i].port);
		assert_int_equal(request.root, cases[i].root);
		(void)snprintf(more, sizeof(more), "%sCONNECT 9\n", cases[i].line);
		assert_int_equal(parse(more, strlen(more), &request), len);
		for (int part = 0; part < len; part++)
			assert_int_equal(parse(cases[i].line, (size_t)part, &request), -EAGAIN);
	}
}

static void parser_refuses(void **state)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT  5\n",
		"CONNECT\t5\n",
		" CONNECT 5\n",
		"CONNECT -5\n",
		"CONNECT +5\n",
		"CONNECT 05\n",
		"CONNECT 0x5\n",
		"CONNECT 5 \n",
		"CONNECT 5 ROOT\n",
		"CONNECT 5 roots\n",
		"CONNECT 5  root\n",
		"CONNECT 5\r\r\n",
		"CONNECT 4294967295\n",
		"CONNECT 4294967296\n",
		"CONNECT 18446744073709551621\n",
		"CONNECT 99999999999999999999999\n",
		"CONNECTED 5\n",
		"GET / HTTP/1.1\r\n",
	};
	struct proxy_request request;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(parse(lines[i], strlen(lines[i]), &request), -EBADMSG);
	/* A NUL is no digit and no end. */
	assert_int_equal(parse("CONNECT 5\0\n", 11, &request), -EBADMSG);
	assert_int_equal(parse("CONNECT \0005\n", 11, &request), -EBADMSG);
	/* The end may be the 32nd byte, not the 33rd. */
	assert_int_equal(parse("CONNECT 000000000000000000000000", 32, &request), -EBADMSG);
	assert_int_equal(parse("CONNECT 000000000000000000000000\n", 33, &request), -EBADMSG);
}

MOCK_TEST(split_line_is_one_line)
{
	int fd = mock_client(m, "CON");

	mock_expect_none(m);
	assert_int_equal(write(fd, "NECT 10", 7), 7);
	mock_expect_none(m);
	assert_int_equal(write(fd, "00\n", 3), 3);
	assert_int_equal(mock_expect(m, OP_REQUEST).dst_port, 1000);
	(void)close(fd);
}

MOCK_TEST(bytes_behind_the_line_are_kept)
{
	int fd = mock_client(m, "CONNECT 1000\r\nearly bytes\n");
	struct packet request = mock_expect(m, OP_REQUEST);
	struct mock_packet packet;

	mock_expect_none(m);
	mock_send(m, 1000, request.src_port, OP_RESPONSE);
	assert_true(mock_next(m, &packet));
	assert_int_equal(packet.header.op, OP_RW);
	assert_int_equal(packet.header.len, 12);
	assert_memory_equal(packet.payload, "early bytes\n", 12);
	(void)close(fd);
}

MOCK_TEST(bad_line_is_the_end)
{
	static const char *const lines[] = {
		"HELLO 5\n", "CONNECT five\n", "CONNECT 1 2 3 4 5 6 7 8 9 0 1 2 3 4\n"};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = mock_client(m, lines[i]);

		mock_assert_end(fd);
		(void)close(fd);
	}
	assert_int_equal(m->device.flows.count, 0);
	mock_expect_none(m);
	mock_assert_alive(m);
}

MOCK_TEST(end_before_the_line_is_the_end)
{
	int fd = mock_client(m, "CONNECT 1");

	assert_int_equal(m->device.flows.count, 1);
	(void)shutdown(fd, SHUT_WR);
	mock_run(m);
	mock_assert_end(fd);
	assert_int_equal(m->device.flows.count, 0);
	(void)close(fd);
}

MOCK_TEST(slow_line_and_slow_guest_time_out)
{
	int slow_line = mock_client(m, "CONNECT 1");
	int slow_guest = mock_client(m, "CONNECT 1000\n");
	struct packet request = mock_expect(m, OP_REQUEST), reset;

	mock_wait(m, PROXY_LINE_TIMEOUT_MS - 300);
	mock_assert_open(slow_line);
	mock_assert_open(slow_guest);
	assert_int_equal(write(slow_line, "0", 1), 1); /* gives no more time */
	mock_wait(m, 600);
	mock_assert_end(slow_line);
	mock_assert_end(slow_guest);
	reset = mock_expect(m, OP_RST);
	assert_int_equal(reset.src_port, request.src_port);
	assert_int_equal(reset.dst_port, 1000);
	assert_int_equal(m->device.flows.count, 0);
	(void)close(slow_line);
	(void)close(slow_guest);
}

MOCK_TEST(refusal_of_the_guest_is_the_end)
{
	int fd = mock_client(m, "CONNECT 1000\n");
	struct packet request = mock_expect(m, OP_REQUEST);

	mock_send(m, 1000, request.src_port, OP_RST);
	mock_assert_end(fd);
	mock_expect_none(m); /* a reset is not answered */
	(void)close(fd);
}

MOCK_TEST(client_that_leaves_is_reset)
{
	int fd = mock_client(m, "CONNECT 1000\n");

	(void)mock_expect(m, OP_REQUEST);
	(void)close(fd);
	(void)mock_expect(m, OP_RST);
	assert_int_equal(m->device.flows.count, 0);
}

MOCK_TEST(ports_of_the_host_side)
{
	uint32_t first, second;
	int a = mock_stream(m, &first);
	int b = mock_stream(m, &second);

	assert_int_equal(first, FLOW_PORT_FIRST);
	assert_int_equal(second, first + 1);
	m->device.flows.next_port = first;
	(void)close(b);
	(void)mock_expect(m, OP_SHUTDOWN);
	b = mock_stream(m, &second);
	assert_int_equal(second, first + 2);
	m->device.flows.next_port = FLOW_PORT_LAST;
	(void)close(a);
	(void)mock_expect(m, OP_SHUTDOWN);
	a = mock_stream(m, &second);
	assert_int_equal(second, FLOW_PORT_LAST);
	assert_int_equal(m->device.flows.next_port, FLOW_PORT_FIRST);
	(void)close(a);
	(void)close(b);
}

/* A child with another uid writes the line; what comes back goes through a pipe. */
static ssize_t client_as_nobody(struct mock *m, const char *text, char *buf, size_t size)
{
	int out[2];
	pid_t pid;
	ssize_t n;

	assert_int_equal(chmod(m->dir, 0755) | chmod(m->uds, 0666) | pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		int fd;

		(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", m->uds);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setuid(65534) < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			_exit(2);
		n = write(fd, text, strlen(text));
		n = read(fd, buf, size);
		_exit(write(out[1], buf, n > 0 ? (size_t)n : 0) < 0);
	}
	(void)close(out[1]);
	mock_wait(m, 300);
	n = read(out[0], buf, size);
	(void)close(out[0]);
	return n;
}

MOCK_TEST(low_ports_are_for_root)
{
	struct packet request;
	char buf[32];
	int fd;

	if (geteuid() != 0)
		return; /* only root can be two users */
	fd = mock_client(m, "CONNECT 1000 root\n");
	request = mock_expect(m, OP_REQUEST);
	assert_int_equal(request.src_port, FLOW_ROOT_PORT_LAST);
	(void)close(fd);
	(void)mock_expect(m, OP_RST);
	fd = mock_client(m, "CONNECT 1000 root\n");
	assert_int_equal(mock_expect(m, OP_REQUEST).src_port, FLOW_ROOT_PORT_LAST - 1);
	(void)close(fd);
	(void)mock_expect(m, OP_RST);
	m->device.flows.next_root_port = 1;
	fd = mock_client(m, "CONNECT 1000 root\n");
	assert_int_equal(mock_expect(m, OP_REQUEST).src_port, 1);
	assert_int_equal(m->device.flows.next_root_port, FLOW_ROOT_PORT_LAST);
	(void)close(fd);
	(void)mock_expect(m, OP_RST);
	assert_int_equal(client_as_nobody(m, "CONNECT 1000 root\n", buf, sizeof(buf)), 0);
	mock_expect_none(m);
}

MOCK_TEST(without_a_front_end_nobody_connects)
{
	int fd;

	(void)close(m->front);
	mock_run(m);
	fd = mock_client(m, "CONNECT 1000\n");
	mock_assert_end(fd);
	(void)close(fd);
	mock_attach(m);
}

MOCK_TEST(connections_are_capped)
{
	int fds[40];

	m->device.flows.max = 32;
	for (unsigned i = 0; i < 40; i++)
		fds[i] = mock_client(m, "CONNECT 1000\n");
	for (unsigned i = 0; i < 40; i++) {
		if (i < 32)
			mock_assert_open(fds[i]);
		else
			mock_assert_end(fds[i]);
		(void)close(fds[i]);
	}
	mock_run(m);
	assert_int_equal(m->device.flows.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parser_accepts),
		cmocka_unit_test(parser_refuses),
		cmocka_unit_test(split_line_is_one_line),
		cmocka_unit_test(bytes_behind_the_line_are_kept),
		cmocka_unit_test(bad_line_is_the_end),
		cmocka_unit_test(end_before_the_line_is_the_end),
		cmocka_unit_test(slow_line_and_slow_guest_time_out),
		cmocka_unit_test(refusal_of_the_guest_is_the_end),
		cmocka_unit_test(client_that_leaves_is_reset),
		cmocka_unit_test(ports_of_the_host_side),
		cmocka_unit_test(low_ports_are_for_root),
		cmocka_unit_test(without_a_front_end_nobody_connects),
		cmocka_unit_test(connections_are_capped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
