/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

/* What it is started with besides its standard streams, and what it reports its start's failure to.
 */
enum { LOG, LOCK, CONTROL, LEASE, VHOST, REPORT, FDS };

/* Only calls that are safe between fork() and exec() in a program with threads. */
static _Noreturn void become(char *const argv[], const int fds[FDS])
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), r;
	pid_t pid;

	(void)setsid();
	/* The grandchild is nobody's: no zombie stays with a caller that never waits. */
	pid = _Fork();
	if (pid > 0)
		_exit(0);
	if (pid == 0 && null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0 &&
		dup2(fds[LOG], STDOUT_FILENO) >= 0 && dup2(fds[LOG], STDERR_FILENO) >= 0 &&
		dup2(fds[LOCK], SUPERVISOR_FD_LOCK) >= 0 &&
		dup2(fds[CONTROL], SUPERVISOR_FD_CONTROL) >= 0 &&
		dup2(fds[LEASE], SUPERVISOR_FD_LEASE) >= 0 &&
		dup2(fds[VHOST] >= 0 ? fds[VHOST] : null_fd, SUPERVISOR_FD_VHOST) >= 0)
		(void)execv(argv[0], argv);
	r = errno;
	(void)!write(fds[REPORT], &r, sizeof(r));
	_exit(127);
}

static void close_all(int fds[FDS])
{
	for (int i = 0; i < FDS; i++)
		fds[i] = fd_close(fds[i]);
}

/* Copies above the numbers that they are to have; one that is not there stays so. */
static int set_aside(const int from[FDS], int to[FDS])
{
	int r = 0;

	for (int i = 0; i < FDS; i++) {
		to[i] = from[i] < 0 ? -EBADF : fcntl(from[i], F_DUPFD_CLOEXEC, ASIDE);
		if (from[i] >= 0 && to[i] < 0)
			r = -errno;
	}
	if (r < 0)
		close_all(to);
	return r;
}

static int start(char *const argv[], const struct registry_entry *entry, int control, int log)
{
	AUTO_CLOSE int report_read = -EBADF, report_write = -EBADF;
	int pipe_fds[2], fds[FDS], r;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	report_read = pipe_fds[0];
	report_write = pipe_fds[1];
	r = set_aside((const int[FDS]){log, entry->lock_fd, control, entry->lease.fd,
			      entry->lease.vhost_fd, report_write},
		fds);
	if (r < 0)
		return r;
	pid = run_apart();
	if (pid == 0)
		become(argv, fds);
	r = pid < 0 ? -errno : 0;
	close_all(fds);
	fd_closep(&report_write);
	if (r < 0)
		return r;
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
