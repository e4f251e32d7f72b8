/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/run.h"
#include "host/common/unix_socket.h"
#include "host/common/vm_files.h"
#include "host/lib/tools.h"
#include "proto/cleanup.h"

#define ASIDE 16 /* above the numbers that the supervisor gets */

/* Only calls that are safe between fork() and exec() in a program with threads. */
static _Noreturn void become(
	char *const argv[], int lock_fd, int control_fd, int log_fd, int report_fd)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), r;
	pid_t pid;

	(void)setsid();
	/* The grandchild is nobody's: no zombie stays with a caller that never waits. */
	pid = _Fork();
	if (pid > 0)
		_exit(0);
	if (pid == 0 && null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0 &&
		dup2(log_fd, STDOUT_FILENO) >= 0 && dup2(log_fd, STDERR_FILENO) >= 0 &&
		dup2(lock_fd, SUPERVISOR_FD_LOCK) >= 0 &&
		dup2(control_fd, SUPERVISOR_FD_CONTROL) >= 0 &&
		/* What the caller has open is not the machine's. */
		syscall(SYS_close_range, SUPERVISOR_FD_CONTROL + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		(void)execv(argv[0], argv);
	r = errno;
	(void)!write(report_fd, &r, sizeof(r));
	_exit(127);
}

static int aside(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, ASIDE);

	return copy < 0 ? -errno : copy;
}

static int start(char *const argv[], const struct registry_entry *entry, int control, int log)
{
	AUTO_CLOSE int lock_fd = aside(entry->lock_fd), control_fd = aside(control),
		       log_fd = aside(log);
	AUTO_CLOSE int report_read = -EBADF, report_write = -EBADF, report_fd = -EBADF;
	int pipe_fds[2], r = 0;
	pid_t pid;

	if (lock_fd < 0 || control_fd < 0 || log_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -EMFILE;
	report_read = pipe_fds[0];
	report_write = pipe_fds[1];
	report_fd = aside(report_write);
	if (report_fd < 0)
		return report_fd;
	pid = run_apart();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		become(argv, lock_fd, control_fd, log_fd, report_fd);
	fd_closep(&report_write);
	fd_closep(&report_fd);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return read(report_read, &r, sizeof(r)) == (ssize_t)sizeof(r) ? -r : 0;
}

int supervisor_spawn(const struct registry_entry *entry, struct postern_error *error)
{
	AUTO_FREE char *program = tool_own("postern-supervisor");
	AUTO_FREE char *socket_path = text_format("%s/" VM_FILE_CONTROL, entry->dir);
	AUTO_CLOSE int control = -EBADF, log = -EBADF;
	char *argv[] = {program, (char *)"--dir", (char *)entry->dir, NULL};
	int r;

	if (!program)
		return fail(error, POSTERN_ABSENT, ENOENT, "postern-supervisor is not installed");
	if (!socket_path)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "supervisor");
	log = openat(entry->dir_fd, VM_FILE_LOG,
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "%s/" VM_FILE_LOG, entry->dir);
	control = unix_listen(socket_path, 64);
	if (control < 0)
		return fail_errno(error, POSTERN_ANSWERED, -control, "%s", socket_path);
	r = start(argv, entry, control, log);
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s", program) : 0;
}
