/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/cleanup.h"

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
	char *found = path ? find_in(path, name) : NULL;

	return found ? found : find_in("/usr/sbin:/sbin:/usr/bin:/bin", name);
}

static int start(const char *program, const char *const argv[], pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	for (int fd = 0; r == 0 && fd <= 2; fd++)
		r = posix_spawn_file_actions_addopen(
			&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn(ret_pid, program, &actions, NULL, (char *const *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
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
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return r > 0 ? 0 : -ETIMEDOUT;
}

int run_program(const char *const argv[], int timeout_ms, char *problem, size_t size)
{
	AUTO_FREE char *program = find_program(argv[0]);
	int status = 0, r;
	pid_t pid = 0;

	if (!program) {
		(void)snprintf(problem, size, "the program %s is not installed", argv[0]);
		return -ENOENT;
	}
	r = start(program, argv, &pid);
	if (r == 0)
		r = wait_for(pid, timeout_ms, &status);
	if (r < 0) {
		(void)snprintf(problem, size, "%s: %s", program, strerror(-r));
		return r;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		(void)snprintf(problem, size, "%s failed (%s %d)", program,
			WIFEXITED(status) ? "exit code" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		return -EIO;
	}
	return 0;
}
