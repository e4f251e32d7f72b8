/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "proto/cleanup.h"

/* Of the whole process, as the terminal and its signals are. */
static struct termios saved, raw;
static int terminal = -1;
static volatile sig_atomic_t wanted; /* raw, now or when it goes on */

static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
	SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF,
	SIGSYS};

/* The default is in force again while the function runs, and behind it. */
#define ONCE (int)(SA_RESETHAND | SA_NODEFER)

/* What runs in signal handlers uses async-signal-safe functions only, and keeps errno. */

/* In the background the terminal is somebody else's, who has set it as they need it. */
static bool is_ours(void)
{
	pid_t group = tcgetpgrp(terminal);

	return group < 0 || group == getpgrp();
}

static void put_back(void)
{
	if (is_ours())
		(void)tcsetattr(terminal, TCSANOW, &saved);
}

void terminal_restore(void)
{
	int keep = errno;

	if (wanted) {
		put_back();
		wanted = 0;
	}
	errno = keep;
}

static void on_ending(int number)
{
	terminal_restore();
	/* This ends the process. */
	(void)raise(number);
}

/* Where it goes on in the background this stops it again (SIGTTOU) until it is in front. */
static void on_continued(int number)
{
	int keep = errno;

	(void)number;
	if (wanted)
		(void)tcsetattr(terminal, TCSANOW, &raw);
	errno = keep;
}

static void on_stop(int number)
{
	struct sigaction ours = {.sa_handler = on_stop, .sa_flags = ONCE};
	int keep = errno;

	if (wanted)
		put_back();
	(void)raise(number);
	/* Behind the stop; or there was none, since nobody could ever continue an orphan. */
	(void)sigaction(number, &ours, NULL);
	on_continued(number);
	errno = keep;
}

static void handle(int number, void (*fn)(int), int flags)
{
	struct sigaction ours = {.sa_handler = fn, .sa_flags = flags}, before;

	if (sigaction(number, NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) &&
		before.sa_handler == SIG_DFL)
		(void)sigaction(number, &ours, NULL);
}

static void prepare(void)
{
	static bool prepared;

	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		handle(ending[i], on_ending, ONCE);
	handle(SIGTSTP, on_stop, ONCE);
	handle(SIGCONT, on_continued, SA_RESTART);
	if (!prepared)
		(void)atexit(terminal_restore);
	prepared = true;
}

int terminal_raw(int fd)
{
	if (wanted)
		return 0;
	if (tcgetattr(fd, &saved) < 0)
		return -errno;
	raw = saved;
	cfmakeraw(&raw);
	terminal = fd;
	prepare();
	/* Before the change: a signal in between puts back what is there. */
	wanted = 1;
	if (tcsetattr(fd, TCSANOW, &raw) < 0) {
		int r = -errno;

		wanted = 0;
		return r;
	}
	return 0;
}

int terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return -errno;
	if (size.ws_row == 0 || size.ws_col == 0)
		return -ENODATA;
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
	return 0;
}

int terminal_watch_size(int *ret_fd)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGWINCH);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
		int r = -errno;

		(void)fd_close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

void terminal_size_seen(int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		;
}
