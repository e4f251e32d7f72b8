/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/supervisor/child.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/clock.h"
#include "proto/log.h"

#define LOG_LINES_MAX 1000

static struct process *find(struct processes *processes, pid_t pid)
{
	for (struct process *process = processes->running; process; process = process->next)
		if (process->pid == pid)
			return process;
	return NULL;
}

static void take_line(struct process *process, const char *line, size_t len)
{
	char text[512];
	size_t n = postern_escape(line, len, text, sizeof(text));

	if (n == 0)
		return;
	/* A guest may be able to make its helpers talk: the log is bounded. */
	if (process->lines < LOG_LINES_MAX) {
		process->lines++;
		log_info("%s: %s", process->name, text);
	}
	if (n + 1 > sizeof(process->tail) - process->tail_len)
		process->tail_len = 0;
	memcpy(process->tail + process->tail_len, text, n);
	process->tail_len += n;
	process->tail[process->tail_len++] = '\n';
}

static void read_log(struct process *process)
{
	char text[2048];
	ssize_t n = read(process->log_fd, text, sizeof(text));

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			loop_io_del(&process->log_io);
			process->log_fd = fd_close(process->log_fd);
		}
		return;
	}
	for (const char *at = text, *end; at < text + n; at = end + 1) {
		end = memchr(at, '\n', (size_t)(text + n - at));
		if (!end)
			end = text + n;
		take_line(process, at, (size_t)(end - at));
	}
}

static void on_log(struct loop_io *io, uint32_t events)
{
	(void)events;
	read_log(container_of(io, struct process, log_io));
}

const char *process_last_line(struct process *process)
{
	size_t len = process->tail_len, start;

	if (len == 0)
		return "";
	process->tail[len - 1] = '\0';
	for (start = len - 1; start > 0 && process->tail[start - 1] != '\n'; start--)
		;
	process->tail_len = 0;
	return process->tail + start;
}

const char *process_status_text(int status, char text[64])
{
	if (WIFSIGNALED(status))
		(void)snprintf(
			text, 64, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(text, 64, "exit code %d", WEXITSTATUS(status));
	return text;
}

/* Takes it out of the list and gives its descriptors back; then tells its owner. */
static void forget(struct processes *processes, struct process *process, int status)
{
	for (struct process **link = &processes->running; *link; link = &(*link)->next)
		if (*link == process) {
			*link = process->next;
			break;
		}
	/* What it wrote last explains its end. */
	if (process->log_fd >= 0)
		read_log(process);
	loop_io_del(&process->log_io);
	process->log_fd = fd_close(process->log_fd);
	process->pidfd = fd_close(process->pidfd);
	/* Children of its own that stayed in its group. */
	(void)kill(-process->pid, SIGKILL);
	process->name = NULL;
	if (process->ended)
		process->ended(process, status);
}

static void reap(struct processes *processes)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct process *process = find(processes, pid);

		if (process)
			forget(processes, process, status);
	}
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct processes *processes = container_of(io, struct processes, io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(processes);
		else
			processes->asked_to_stop(processes->ctx);
	}
}

int processes_init(
	struct processes *processes, struct loop *loop, void (*asked_to_stop)(void *ctx), void *ctx)
{
	sigset_t set;

	*processes = (struct processes){
		.loop = loop, .asked_to_stop = asked_to_stop, .ctx = ctx, .io.fn = on_signal};
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -errno;
	processes->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (processes->signal_fd < 0)
		return -errno;
	return loop_io_add(loop, &processes->io, processes->signal_fd, EPOLLIN);
}

int process_start(struct processes *processes, struct process *process, const char *name,
	char *const argv[], const int *fds, size_t n, const struct process_options *options,
	void (*ended)(struct process *process, int status), struct postern_error *error)
{
	AUTO_CLOSE int log_read = -EBADF, log_write = -EBADF;
	int pipe_fds[2], r;
	pid_t pid;

	if (n > PROCESS_FDS || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return fail_errno(error, POSTERN_ANSWERED, n > PROCESS_FDS ? E2BIG : errno,
			"%s cannot be started", name);
	log_read = pipe_fds[0];
	log_write = pipe_fds[1];
	(void)fcntl(log_read, F_SETFL, O_NONBLOCK);
	r = child_exec(argv, fds, n, log_write, options, &pid);
	if (r < 0)
		return fail_errno(
			error, POSTERN_ANSWERED, -r, "%s cannot be started: %s", name, argv[0]);
	*process = (struct process){
		.name = name, .pid = pid, .ended = ended, .log_fd = take_fd(&log_read)};
	/* Its number is its own until we reap it, and only our loop does. */
	process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	process->log_io.fn = on_log;
	(void)loop_io_add(processes->loop, &process->log_io, process->log_fd, EPOLLIN);
	process->next = processes->running;
	processes->running = process;
	return 0;
}

void process_signal(struct process *process, int signal)
{
	if (!process_running(process))
		return;
	process->killed = true;
	(void)syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0);
	if (signal == SIGKILL)
		(void)kill(-process->pid, signal);
}

void processes_done(struct processes *processes)
{
	uint64_t until = monotonic_ns() + NSEC_PER_SEC;
	int status;

	loop_io_del(&processes->io);
	for (struct process *process = processes->running; process; process = process->next)
		process_signal(process, SIGKILL);
	while (monotonic_ns() < until) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			break;
		if (pid == 0)
			(void)usleep(5000);
	}
	processes->signal_fd = fd_close(processes->signal_fd);
}
