/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/forward/end.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "proto/cleanup.h"
#include "tests/unit/unit.h"

#define ROUNDS 100
#define RIVALS 4

static char folder[] = "/tmp/postern-end-XXXXXX";
static char path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/socket", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(folder);
}

/* Listens there when all may, and stays until the pipe is closed. Its exit code: 0 when it
 * listened. */
static void be_rival(int begin, int tried, int end)
{
	struct forward_end at;
	int fd = -EBADF, r;
	char byte;

	assert_int_equal(forward_end_unix(&at, path), 0);
	(void)!read(begin, &byte, 1);
	r = forward_listen(&at, &fd);
	(void)!write(tried, "", 1);
	(void)!read(end, &byte, 1);
	_exit(r == 0 ? 0 : r == -EADDRINUSE ? 1 : 2);
}

static int round_of_rivals(void)
{
	int begin[2], tried[2], end[2], listening = 0, status;
	pid_t rivals[RIVALS];
	char byte;

	assert_int_equal(pipe(begin) | pipe(tried) | pipe(end), 0);
	for (int i = 0; i < RIVALS; i++) {
		rivals[i] = fork();
		assert_true(rivals[i] >= 0);
		if (rivals[i] == 0) {
			(void)close(begin[1]);
			(void)close(end[1]);
			be_rival(begin[0], tried[1], end[0]);
		}
	}
	(void)close(begin[0]);
	(void)close(begin[1]);
	for (int i = 0; i < RIVALS; i++)
		assert_int_equal(read(tried[0], &byte, 1), 1);
	(void)close(tried[0]);
	(void)close(tried[1]);
	(void)close(end[0]);
	(void)close(end[1]);
	for (int i = 0; i < RIVALS; i++) {
		assert_int_equal(waitpid(rivals[i], &status, 0), rivals[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
		listening += WEXITSTATUS(status) == 0;
	}
	return listening;
}

/* One that is between bind() and listen() looks as if it were left over. A rival that comes only
 * when the first has ended may listen, too: so each waits for the end of the round. */
UNIT(one_of_several_listens_at_a_path)
{
	for (int i = 0; i < ROUNDS; i++)
		assert_int_equal(round_of_rivals(), 1);
}

UNIT(what_is_left_over_is_replaced_and_what_is_anothers_stays)
{
	struct forward_end first, second;
	AUTO_CLOSE int fd = -EBADF;
	AUTO_CLOSE int other = -EBADF;

	assert_int_equal(forward_end_unix(&first, path), 0);
	second = first;
	assert_int_equal(forward_listen(&first, &fd), 0);
	assert_int_equal(forward_listen(&second, &other), -EADDRINUSE);
	fd = fd_close(fd);
	assert_int_equal(forward_listen(&second, &other), 0);
	forward_unlisten(&first);
	assert_int_equal(access(path, F_OK), 0);
	forward_unlisten(&second);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(one_of_several_listens_at_a_path),
		RUN(what_is_left_over_is_replaced_and_what_is_anothers_stays)};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
