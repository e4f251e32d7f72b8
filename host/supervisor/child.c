/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/supervisor/process.h"
#include "proto/cleanup.h"

#define FIRST 3
#define ASIDE 128 /* above every number that the child gets */

/* Moves the descriptors to their numbers. They are copied aside first: a number that is wanted may
 * just be that of another one. */
static int place(
	const int *fds, size_t n, int log_fd, const struct process_options *options, int report_fd)
{
	int aside[PROCESS_FDS], log_aside = fcntl(log_fd, F_DUPFD_CLOEXEC, ASIDE), in, out;

	in = options && options->stdio ? fcntl(*options->stdio, F_DUPFD_CLOEXEC, ASIDE)
				       : open("/dev/null", O_RDONLY | O_CLOEXEC);
	out = options && options->stdio ? in : log_aside;
	if (log_aside < 0 || in < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		aside[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, ASIDE);
		if (aside[i] < 0)
			return -errno;
	}
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		dup2(log_aside, STDERR_FILENO) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++)
		if (dup2(aside[i], FIRST + (int)i) < 0)
			return -errno;
	/* All the rest goes with the exec; the report goes with success. */
	if (close_range(FIRST + (unsigned)n, (unsigned)report_fd - 1, CLOSE_RANGE_CLOEXEC) < 0 ||
		close_range((unsigned)report_fd + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* QEMU's virtiofsd has no switch for this, and what the guest mounts read-only it can mount again.
 */
static int make_read_only(const char *path)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return 0;
}

static void reset_signals(void)
{
	sigset_t none;

	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		(void)signal(
			signal_number, SIG_DFL); /* SIGKILL and SIGSTOP refuse; they are default */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void run(char *const argv[], const int *fds, size_t n, int log_fd,
	const struct process_options *options, int report_fd, pid_t parent)
{
	int r, high = fcntl(report_fd, F_DUPFD_CLOEXEC, ASIDE * 2);

	r = high < 0 ? -errno : 0;
	(void)setpgid(0, 0);
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		r = -errno;
	if (r == 0 && getppid() != parent)
		r = -ESRCH; /* it died before the prctl(): nobody would end us */
	if (r == 0 && options && options->read_only)
		r = make_read_only(options->read_only);
	if (r == 0)
		r = place(fds, n, log_fd, options, high);
	if (r == 0) {
		reset_signals();
		(void)execv(argv[0], argv);
		r = -errno;
	}
	(void)!write(high, &r, sizeof(r));
	_exit(127);
}

int child_exec(char *const argv[], const int *fds, size_t n, int log_fd,
	const struct process_options *options, pid_t *ret_pid)
{
	AUTO_CLOSE int report_read = -EBADF, report_write = -EBADF;
	pid_t parent = getpid(), pid;
	int pipe_fds[2], r = 0;
	ssize_t got;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	report_read = pipe_fds[0];
	report_write = pipe_fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run(argv, fds, n, log_fd, options, report_write, parent);
	(void)setpgid(pid, pid);
	fd_closep(&report_write);
	do
		got = read(report_read, &r, sizeof(r));
	while (got < 0 && errno == EINTR);
	if (got == (ssize_t)sizeof(r) && r < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return r;
	}
	*ret_pid = pid;
	return 0;
}
