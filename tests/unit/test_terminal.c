/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A terminal is left as it was found, however the program ends. */
/* needs: host/cli/terminal.c */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "host/cli/terminal.h"
#include "proto/write.h"

struct tty {
	int ours, theirs; /* master, slave */
	struct termios before;
};

static int setup(void **state)
{
	static struct tty tty;

	assert_int_equal(openpty(&tty.ours, &tty.theirs, NULL, NULL, NULL), 0);
	/* Nobody's default, so that a default is not taken for what was there. */
	assert_int_equal(tcgetattr(tty.theirs, &tty.before), 0);
	tty.before.c_lflag &= ~(tcflag_t)ECHOK;
	tty.before.c_cc[VINTR] = 7;
	assert_int_equal(tcsetattr(tty.theirs, TCSANOW, &tty.before), 0);
	assert_int_equal(tcgetattr(tty.theirs, &tty.before), 0);
	*state = &tty;
	return 0;
}

static int teardown(void **state)
{
	struct tty *tty = *state;

	(void)close(tty->ours);
	(void)close(tty->theirs);
	return 0;
}

static bool is_raw(const struct tty *tty)
{
	struct termios now;

	assert_int_equal(tcgetattr(tty->theirs, &now), 0);
	return !(now.c_lflag & (ECHO | ICANON | ISIG)) && !(now.c_oflag & OPOST);
}

static bool is_as_before(const struct tty *tty)
{
	struct termios now;

	assert_int_equal(tcgetattr(tty->theirs, &now), 0);
	return now.c_iflag == tty->before.c_iflag && now.c_oflag == tty->before.c_oflag &&
	       now.c_cflag == tty->before.c_cflag && now.c_lflag == tty->before.c_lflag &&
	       memcmp(now.c_cc, tty->before.c_cc, sizeof(now.c_cc)) == 0;
}

static void raw_and_back(void **state)
{
	const struct tty *tty = *state;

	terminal_restore();
	assert_true(is_as_before(tty));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(terminal_raw(tty->theirs), 0);
		assert_int_equal(terminal_raw(tty->theirs), 0);
		assert_true(is_raw(tty));
		terminal_restore();
		assert_true(is_as_before(tty));
	}
	terminal_restore();
	assert_true(is_as_before(tty));
}

/* ---- A program of its own, with the terminal for its own ---- */

static void end_by_exit(int number)
{
	exit(number);
}

static void end_by_signal(int number)
{
	(void)raise(number);
}

static void end_by_fault(int number)
{
	(void)number;
	*(volatile char *)mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
}

/* Begins a program that has the terminal raw, does `then`, and waits for a signal. */
static pid_t begin(const struct tty *tty, void (*then)(int), int number)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		(void)setsid();
		(void)signal(SIGSEGV, SIG_DFL); /* which cmocka has taken */
		if (ioctl(tty->theirs, TIOCSCTTY, 0) < 0 || terminal_raw(tty->theirs) < 0 ||
			!is_raw(tty))
			_exit(99);
		if (then)
			then(number);
		(void)write_all(ready[1], "", 1);
		for (;;)
			(void)pause();
	}
	assert_true(pid > 0);
	(void)close(ready[1]);
	while (read(ready[0], &byte, 1) < 0) /* or its end */
		;
	(void)close(ready[0]);
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void it_exits(void **state)
{
	int status = status_of(begin(*state, end_by_exit, 3));

	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	assert_true(is_as_before(*state));
}

static void a_signal_ends_it(void **state)
{
	static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGPIPE, SIGUSR1};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		/* From outside, and its own. */
		pid_t pid = begin(*state, NULL, 0);
		int status;

		assert_true(is_raw(*state));
		assert_int_equal(kill(pid, numbers[i]), 0);
		status = status_of(pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == numbers[i]);
		assert_true(is_as_before(*state));
		status = status_of(begin(*state, end_by_signal, numbers[i]));
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == numbers[i]);
		assert_true(is_as_before(*state));
	}
}

static void a_fault_ends_it(void **state)
{
	int status = status_of(begin(*state, end_by_fault, 0));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_true(is_as_before(*state));
}

static void own(int number)
{
	(void)number;
}

/* nohup, and a program's own handler. */
static void signals_of_others_stay(void **state)
{
	struct sigaction now;

	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGTERM, own);
	assert_int_equal(terminal_raw(((const struct tty *)*state)->theirs), 0);
	assert_int_equal(sigaction(SIGHUP, NULL, &now), 0);
	assert_ptr_equal(now.sa_handler, SIG_IGN);
	assert_int_equal(sigaction(SIGTERM, NULL, &now), 0);
	assert_ptr_equal(now.sa_handler, own);
	terminal_restore();
	(void)signal(SIGHUP, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
}

static void wait_for(bool (*what)(const struct tty *), const struct tty *tty)
{
	for (int i = 0; i < 2000 && !what(tty); i++)
		(void)usleep(1000);
	assert_true(what(tty));
}

/* Begun below a leader that stays, so that somebody could continue it. */
static pid_t begin_below(const struct tty *tty, pid_t *ret_leader)
{
	int pids[2];
	pid_t pid;

	assert_int_equal(pipe(pids), 0);
	*ret_leader = fork();
	if (*ret_leader == 0) {
		(void)setsid();
		(void)signal(SIGTTOU, SIG_IGN);
		if (ioctl(tty->theirs, TIOCSCTTY, 0) < 0)
			_exit(99);
		pid = fork();
		if (pid == 0) {
			(void)setpgid(0, 0);
			(void)tcsetpgrp(tty->theirs, getpid());
			(void)signal(SIGTTOU, SIG_DFL);
			if (terminal_raw(tty->theirs) < 0)
				_exit(99);
			for (;;)
				(void)pause();
		}
		(void)write_all(pids[1], &pid, sizeof(pid));
		for (;;)
			(void)pause();
	}
	(void)close(pids[1]);
	assert_int_equal(read(pids[0], &pid, sizeof(pid)), sizeof(pid));
	(void)close(pids[0]);
	return pid;
}

static void it_is_stopped_and_goes_on(void **state)
{
	const struct tty *tty = *state;
	pid_t leader, pid = begin_below(tty, &leader);

	wait_for(is_raw, tty);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kill(pid, SIGTSTP), 0);
		wait_for(is_as_before, tty);
		assert_int_equal(kill(pid, SIGCONT), 0);
		wait_for(is_raw, tty);
	}
	/* A stop that cannot be caught: the shell sets the terminal as it needs it. */
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(tcsetattr(tty->theirs, TCSANOW, &tty->before), 0);
	assert_int_equal(kill(pid, SIGCONT), 0);
	wait_for(is_raw, tty);
	assert_int_equal(kill(pid, SIGTERM), 0);
	wait_for(is_as_before, tty);
	assert_int_equal(kill(leader, SIGKILL), 0);
	(void)status_of(leader);
}

static void no_terminal(void **state)
{
	int fds[2];
	uint16_t rows, columns;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(terminal_raw(fds[0]), -ENOTTY);
	assert_int_equal(terminal_size(fds[0], &rows, &columns), -ENOTTY);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void its_size_and_that_it_changed(void **state)
{
	const struct tty *tty = *state;
	struct winsize size = {.ws_row = 40, .ws_col = 132};
	struct pollfd poll_fd = {.events = POLLIN};
	uint16_t rows = 1, columns = 1;

	assert_int_equal(terminal_size(tty->theirs, &rows, &columns), -ENODATA);
	assert_int_equal(ioctl(tty->ours, TIOCSWINSZ, &size), 0);
	assert_int_equal(terminal_size(tty->theirs, &rows, &columns), 0);
	assert_int_equal(rows, 40);
	assert_int_equal(columns, 132);
	assert_int_equal(terminal_watch_size(&poll_fd.fd), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_int_equal(raise(SIGWINCH), 0);
	assert_int_equal(poll(&poll_fd, 1, 1000), 1);
	terminal_size_seen(poll_fd.fd);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	(void)close(poll_fd.fd);
}

#define TERMINAL(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TERMINAL(raw_and_back),
		TERMINAL(it_exits),
		TERMINAL(a_signal_ends_it),
		TERMINAL(a_fault_ends_it),
		TERMINAL(signals_of_others_stay),
		TERMINAL(it_is_stopped_and_goes_on),
		TERMINAL(no_terminal),
		TERMINAL(its_size_and_that_it_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
