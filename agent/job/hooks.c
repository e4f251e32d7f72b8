/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/program.h"
#include "agent/sandbox/confine.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define FOLDER_MAX 512 /* the configured one has 256 bytes at most */

#define PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void reach_nothing(uint64_t device)
{
	(void)device;
}

static int start(const char *path, enum hook_event event, pid_t *ret_pid, int *ret_pidfd)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	AUTO_CLOSE int err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	static const struct account root = {.groups_n = 1, .home = "/"};
	const char *paths[] = {path, NULL};
	const uint64_t devices[] = {0};
	char event_env[64], *name = (char *)hook_event_name(event), env_path[] = PATH,
			    home[] = "HOME=/root";
	char *argv[] = {(char *)path, name, NULL}, *envp[] = {env_path, home, event_env, NULL};
	struct program program = {.paths = paths,
		.argv = argv,
		.envp = envp,
		.cwd = "/",
		.reach = reach_nothing,
		.path_devices = devices,
		.account = &root,
		.stdio = {null, out < 0 ? null : out, err < 0 ? null : err},
		.cgroup = -EBADF,
		.parent_signal = SIGKILL};
	enum program_step step;

	(void)snprintf(event_env, sizeof(event_env), "POSTERN_EVENT=%s", name);
	return null < 0 ? -errno : program_start(&program, ret_pid, ret_pidfd, &step);
}

/* Until it has ended, the time is over, or nobody wants to know. */
static void wait_for(
	pid_t pid, int pidfd, uint64_t deadline, int socket, struct hook_result *result)
{
	struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = socket}};
	siginfo_t info = {0};
	bool ended;

	while (poll(fds, 2, ms_until(deadline)) < 0 && errno == EINTR)
		;
	ended = fds[0].revents != 0;
	if (!ended)
		(void)kill(-pid, SIGKILL);
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	result->value = info.si_status;
	if (!ended)
		result->end = HOOK_LATE;
	else if (info.si_code == CLD_EXITED)
		result->end = info.si_status == 0 ? HOOK_OK : HOOK_EXITED;
	else
		result->end = HOOK_KILLED;
}

static void run_one(const char *folder, const char *name, enum hook_event event, uint64_t deadline,
	int socket, struct hook_result *result)
{
	AUTO_CLOSE int pidfd = -EBADF;
	char path[PATH_MAX];
	pid_t pid = -1;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	r = hook_check(path);
	if (r == 0)
		r = start(path, event, &pid, &pidfd);
	if (r == 0) {
		wait_for(pid, pidfd, deadline, socket, result);
	} else {
		result->end = HOOK_NOT_RUN;
		result->value = -r;
	}
	if (result->end != HOOK_OK)
		log_warning("hook %s failed", path);
}

static int is_hook(const struct dirent *entry)
{
	return hook_is_program(entry->d_name);
}

static void run_all(const char *folder, enum hook_event event, uint64_t deadline, int socket,
	struct hook_result *result)
{
	struct dirent **entries = NULL;
	bool after = hook_event_is_after(event);
	int n = scandir(folder, &entries, is_hook, alphasort);

	if (n < 0 && errno != ENOENT) {
		*result = (struct hook_result){.end = HOOK_NOT_RUN, .value = errno};
		log_warning("hooks in %s cannot be read: %s", folder, strerror(errno));
	}
	for (int i = 0; i < n; i++) {
		const struct dirent *entry = entries[after ? n - 1 - i : i];
		struct hook_result one = {0};

		if (result->end != HOOK_OK && !after)
			break;
		run_one(folder, entry->d_name, event, deadline, socket, &one);
		result->run++;
		if (one.end == HOOK_OK || result->end != HOOK_OK)
			continue;
		result->end = one.end;
		result->value = one.value;
		(void)snprintf(result->name, sizeof(result->name), "%s", entry->d_name);
	}
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
}

void hooks_run(const char *dir, enum hook_event event, uint64_t deadline, int socket)
{
	struct hook_result result = {0};
	char folder[FOLDER_MAX];

	(void)snprintf(folder, sizeof(folder), "%s/%s", dir, hook_event_name(event));
	if (job_raise() < 0)
		result = (struct hook_result){.end = HOOK_NOT_RUN, .value = EPERM};
	else
		run_all(folder, event, deadline, socket, &result);
	(void)send(socket, &result, sizeof(result), MSG_NOSIGNAL);
}
