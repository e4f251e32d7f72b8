/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's console between a VMM, which has a socket or a terminal there, and readers. */
/* needs: host/supervisor/console.c host/supervisor/reader.c */
#include "unit.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/socket.h>
#include <termios.h>

#include "host/common/remove.h"
#include "host/supervisor/reader.h"

static struct {
	struct loop loop;
	struct console console;
	char folder[64];
	int dir_fd, vmm; /* vmm: its end */
} all;

static void begin(int ours, int theirs)
{
	(void)strcpy(all.folder, "/tmp/postern-test-XXXXXX");
	assert_non_null(mkdtemp(all.folder));
	all.dir_fd = open(all.folder, O_PATH | O_DIRECTORY);
	assert_int_equal(loop_init(&all.loop), 0);
	assert_int_equal(console_open(&all.console, &all.loop, all.dir_fd, CONSOLE_FILE, ours), 0);
	all.vmm = theirs;
}

static int with_socket(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	begin(pair[0], pair[1]);
	return 0;
}

static int with_terminal(void **state)
{
	struct termios raw = {0};
	int ours, theirs;

	(void)state;
	cfmakeraw(&raw);
	assert_int_equal(openpty(&ours, &theirs, NULL, &raw, NULL), 0);
	(void)fcntl(theirs, F_SETFL, O_NONBLOCK);
	begin(ours, theirs);
	return 0;
}

static int end(void **state)
{
	(void)state;
	console_close(&all.console);
	loop_done(&all.loop);
	(void)close(all.dir_fd);
	(void)close(all.vmm);
	return remove_tree(all.folder);
}

static void turn(void)
{
	for (int i = 0; i < 10; i++)
		(void)loop_once(&all.loop, 1);
}

static int new_reader(bool scrollback)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(reader_add(&all.console, pair[0], scrollback), 0);
	return pair[1];
}

static void expect(int fd, const char *text)
{
	char bytes[256] = "";
	ssize_t n;

	turn();
	n = read(fd, bytes, sizeof(bytes) - 1);
	assert_int_equal(n, strlen(text));
	assert_string_equal(bytes, text);
}

static void both_ways(void **state)
{
	int first, second;

	(void)state;
	assert_int_equal(write(all.vmm, "boot\n", 5), 5);
	turn();
	first = new_reader(true);
	second = new_reader(false);
	expect(first, "boot\n");
	assert_int_equal(write(first, "ls\r", 3), 3);
	expect(all.vmm, "ls\r");
	assert_int_equal(write(second, "id\r", 3), 3);
	expect(all.vmm, "id\r");
	assert_int_equal(write(all.vmm, "root", 4), 4);
	expect(first, "root");
	expect(second, "root");
	assert_int_equal(all.console.n_readers, 2);
	(void)close(first);
	turn();
	assert_int_equal(all.console.n_readers, 1);
	(void)close(second);
}

/* The VMM takes nothing: what is typed waits where it is. */
static void input_that_is_not_taken_waits(void **state)
{
	int reader = new_reader(false), other = new_reader(false);
	char bytes[4096];
	size_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	for (int idle = 0; idle < 3;) {
		n = write(reader, bytes, sizeof(bytes));
		sent += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
		turn();
	}
	assert_true(sent < 2U << 20);
	assert_true(buffer_len(&all.console.input) <= CONSOLE_PIECE);
	/* Others go on reading meanwhile. */
	assert_int_equal(write(all.vmm, "still here", 10), 10);
	expect(other, "still here");
	for (int idle = 0; idle < 3;) {
		turn();
		n = read(all.vmm, bytes, sizeof(bytes));
		got += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
	}
	assert_int_equal(got, sent);
	(void)close(reader);
	(void)close(other);
}

/* The last lines, for a machine's record, and a ring that was filled several times. */
static void the_last_of_it_is_kept(void **state)
{
	char line[32];
	json_t *lines;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		int n = snprintf(line, sizeof(line), "line %d\r\n", i);

		while (write(all.vmm, line, (size_t)n) < 0)
			turn();
	}
	turn();
	lines = console_last_lines(&all.console, 2);
	assert_int_equal(json_array_size(lines), 2);
	assert_string_equal(json_string_value(json_array_get(lines, 1)), "line 19999");
	json_decref(lines);
}

static void a_vmm_that_hangs_up_ends_nobody(void **state)
{
	int reader = new_reader(false);

	(void)state;
	assert_int_equal(write(all.vmm, "bye", 3), 3);
	assert_int_equal(shutdown(all.vmm, SHUT_RDWR), 0);
	expect(reader, "bye");
	assert_int_equal(write(reader, "anybody?\r", 9), 9);
	turn();
	assert_true(console_takes_input(&all.console));
	assert_int_equal(all.console.n_readers, 1);
	(void)close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_ways, with_socket, end),
		cmocka_unit_test_setup_teardown(both_ways, with_terminal, end),
		cmocka_unit_test_setup_teardown(input_that_is_not_taken_waits, with_socket, end),
		cmocka_unit_test_setup_teardown(input_that_is_not_taken_waits, with_terminal, end),
		cmocka_unit_test_setup_teardown(the_last_of_it_is_kept, with_socket, end),
		cmocka_unit_test_setup_teardown(a_vmm_that_hangs_up_ends_nobody, with_socket, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
