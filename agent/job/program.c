/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define STACK_SIZE (64 << 10)
#define SIGNALS    64 /* of the kernel */

/* Shared with the new process until it runs the program. */
struct start {
	const struct program *program;
	enum program_step step;
	int error;
};

static const struct {
	const char *name;
	int resource;
} limit_names[] = {
	{"as", RLIMIT_AS},
	{"core", RLIMIT_CORE},
	{"cpu", RLIMIT_CPU},
	{"data", RLIMIT_DATA},
	{"fsize", RLIMIT_FSIZE},
	{"locks", RLIMIT_LOCKS},
	{"memlock", RLIMIT_MEMLOCK},
	{"msgqueue", RLIMIT_MSGQUEUE},
	{"nice", RLIMIT_NICE},
	{"nofile", RLIMIT_NOFILE},
	{"nproc", RLIMIT_NPROC},
	{"rss", RLIMIT_RSS},
	{"rtprio", RLIMIT_RTPRIO},
	{"rttime", RLIMIT_RTTIME},
	{"sigpending", RLIMIT_SIGPENDING},
	{"stack", RLIMIT_STACK},
};

int program_limit(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(limit_names); i++)
		if (strcasecmp(limit_names[i].name, name) == 0)
			return limit_names[i].resource;
	return -1;
}

/* Signals that we ignore would stay ignored, and the C library does not let go of two of its own.
 */
static void reset_signals(void)
{
	static const uint64_t
		action[4]; /* struct sigaction of the kernel: SIG_DFL, no flags, no mask */
	sigset_t none;

	for (int i = 1; i <= SIGNALS; i++)
		(void)syscall(SYS_rt_sigaction, i, action, NULL, sizeof(uint64_t));
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_stdio(const struct program *program)
{
	for (int i = 0; i < 3; i++)
		if (dup2(program->stdio[i], i) < 0)
			return -1;
	return program->terminal ? ioctl(0, TIOCSCTTY, 0) : 0;
}

static int set_limits(const struct program *program)
{
	for (size_t i = 0; i < program->limits_n; i++)
		/* The type of the first argument is an enum of the C library's own. */
		if (syscall(SYS_prlimit64, 0, program->limits[i].resource,
			    &program->limits[i].limit, NULL) < 0)
			return -1;
	return 0;
}

/* The system calls themselves: the library's would tell threads, which it takes for its own. */
static int set_account(const struct account *account)
{
	if (syscall(SYS_setgroups, account->groups_n, account->groups) < 0 ||
		syscall(SYS_setresgid, account->gid, account->gid, account->gid) < 0 ||
		syscall(SYS_setresuid, account->uid, account->uid, account->uid) < 0)
		return -1;
	return 0;
}

static int enter_folder(const struct program *program)
{
	program->reach(program->cwd_device);
	if (program->cwd)
		return chdir(program->cwd);
	return chdir(program->account->home) < 0 ? chdir("/") : 0;
}

/* The agent may be one of the last that the kernel ends for want of memory; who it runs is not. */
static void reset_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "0", 1) == 1)
		(void)close(fd);
}

/* As a shell does: a file that is not there, or not ours to run, leaves the next folder. */
static void run(const struct program *program)
{
	int error = ENOENT;

	for (size_t i = 0; program->paths[i]; i++) {
		program->reach(program->path_devices[i]);
		(void)execve(program->paths[i], program->argv, program->envp);
		if (errno == EACCES)
			error = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR) {
			error = errno;
			break;
		}
	}
	errno = error;
}

/* In the new process, on the memory of the old one, which waits. */
static int child_main(void *arg)
{
	struct start *start = arg;
	const struct program *program = start->program;

	start->step = PROGRAM_SESSION;
	reset_signals();
	if (setsid() < 0)
		goto fail;
	start->step = PROGRAM_CGROUP;
	if (program->cgroup >= 0 && write(program->cgroup, "0", 1) != 1)
		goto fail;
	start->step = PROGRAM_STDIO;
	if (set_stdio(program) < 0)
		goto fail;
	reset_oom();
	start->step = PROGRAM_LIMIT;
	if (set_limits(program) < 0)
		goto fail;
	start->step = PROGRAM_ACCOUNT;
	if (set_account(program->account) < 0)
		goto fail;
	/* A change of user takes it back, so it comes after (prctl(2)). Until the program runs it
	 * must not outlive the process that waits for it: its folder or file may take for ever. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		goto fail;
	(void)umask(0022);
	start->step = PROGRAM_CWD;
	if (enter_folder(program) < 0)
		goto fail;
	start->step = PROGRAM_EXEC;
	/* They close with the program's start: until then it is told where this leads. Linux 5.11;
	 * one before that closes ours too, each of which has the flag already. */
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		(void)syscall(SYS_close_range, 3U, ~0U, 0U);
	if (prctl(PR_SET_PDEATHSIG, program->parent_signal) < 0)
		goto fail;
	run(program);
fail:
	start->error = errno;
	_exit(127);
}

int program_start(
	const struct program *program, pid_t *ret_pid, int *ret_pidfd, enum program_step *ret_step)
{
	static uint8_t stack[STACK_SIZE] __attribute__((aligned(16)));
	struct start start = {.program = program};
	int pidfd = -EBADF;
	pid_t pid;

	*ret_step = PROGRAM_CLONE;
	/* Sharing memory spares the kernel a copy of our page tables; CLONE_VFORK keeps us still
	 * until the program has its own. */
	pid = clone(child_main, stack + sizeof(stack),
		CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start, &pidfd);
	if (pid < 0)
		return -errno;
	*ret_step = start.step;
	if (start.error != 0) {
		(void)fd_close(pidfd);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -start.error;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
