/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/cleanup.h"

/* As a shell has them. */
#define NOT_STARTED     127
#define ENDED_BY_SIGNAL 128

static char *find_in(const char *folders, const char *name)
{
	char path[PATH_MAX];

	for (const char *at = folders; *at;) {
		size_t len = strcspn(at, ":");
		int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, at, name);

		if (at[0] == '/' && n > 0 && n < (int)sizeof(path) && access(path, X_OK) == 0)
			return strdup(path);
		at += len + (at[len] == ':');
	}
	return NULL;
}

char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	char *found = NULL;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? strdup(name) : NULL;
	if (path)
		found = find_in(path, name);
	return found ? found : find_in("/usr/sbin:/sbin:/usr/bin:/bin", name);
}

static void forget_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t run_apart(void)
{
	/* fork() is this with SIGCHLD as the signal that tells of the end, and with the handlers of
	 * pthread_atfork(), which are not for us. */
	pid_t pid = (pid_t)syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L);

	if (pid == 0)
		forget_signals();
	return pid;
}

static _Noreturn void become(const char *program, const char *const argv[], int output)
{
	int in = open("/dev/null", O_RDONLY), out = open("/dev/null", O_WRONLY);

	if (in >= 0 && out >= 0 && dup2(in, STDIN_FILENO) >= 0 &&
		dup2(output < 0 ? out : output, STDOUT_FILENO) >= 0 &&
		dup2(out, STDERR_FILENO) >= 0 &&
		syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		(void)execv(program, (char *const *)argv);
	_exit(NOT_STARTED);
}

/* A program that was exec'd sends SIGCHLD again: one in between takes it, and the status with it.
 */
static _Noreturn void stand_between(const char *program, const char *const argv[], int output)
{
	pid_t self = getpid(), pid = _Fork();
	int status;

	if (pid == 0) {
		/* Whoever is killed for being late takes it along. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == self)
			become(program, argv, output);
		_exit(NOT_STARTED);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(NOT_STARTED);
	if (pid < 0)
		_exit(NOT_STARTED);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : ENDED_BY_SIGNAL + WTERMSIG(status));
}

static int wait_for(pid_t pid, int timeout_ms, int *ret_status)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	int r = 1;

	if (pidfd >= 0)
		do
			r = poll(&poll_fd, 1, timeout_ms);
		while (r < 0 && errno == EINTR);
	if (r <= 0)
		(void)kill(pid, SIGKILL); /* not reaped yet: the number is still its own */
	while (waitpid(pid, ret_status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return r > 0 ? 0 : -ETIMEDOUT;
}

static int run(const char *const argv[], int output, int timeout_ms, char *problem, size_t size)
{
	AUTO_FREE char *program = find_program(argv[0]);
	int status = 0, code, r;
	pid_t pid;

	if (!program) {
		(void)snprintf(problem, size, "the program %s is not installed", argv[0]);
		return -ENOENT;
	}
	pid = run_apart();
	if (pid == 0)
		stand_between(program, argv, output);
	r = pid < 0 ? -errno : wait_for(pid, timeout_ms, &status);
	if (r < 0) {
		(void)snprintf(problem, size, "%s: %s", program, strerror(-r));
		return r;
	}
	code = WIFEXITED(status) ? WEXITSTATUS(status) : ENDED_BY_SIGNAL + WTERMSIG(status);
	if (code != 0) {
		(void)snprintf(problem, size, "%s failed (%s %d)", program,
			code > ENDED_BY_SIGNAL ? "signal" : "exit code",
			code > ENDED_BY_SIGNAL ? code - ENDED_BY_SIGNAL : code);
		return -EIO;
	}
	return 0;
}

int run_program(const char *const argv[], int timeout_ms, char *problem, size_t size)
{
	return run(argv, -EBADF, timeout_ms, problem, size);
}

int run_output(const char *const argv[], int timeout_ms, char *output, size_t output_size,
	char *problem, size_t size)
{
	AUTO_CLOSE int fd = memfd_create("output", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : run(argv, fd, timeout_ms, problem, size);
	ssize_t n = r < 0 ? 0 : pread(fd, output, output_size - 1, 0);

	output[n > 0 ? n : 0] = '\0';
	if (fd < 0)
		(void)snprintf(problem, size, "%s: %s", argv[0], strerror(-r));
	return r;
}
