/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/job/cgroup.h"
#include "agent/job/job.h"
#include "agent/job/reach.h"
#include "agent/job/spec.h"
#include "agent/sandbox/confine.h"
#include "agent/touch.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

/* The program's ends of its standard streams, until it has them. */
struct ends {
	int fd[3];
	int procs;
};

static void ends_close(struct ends *ends)
{
	for (int i = 0; i < 3; i++)
		ends->fd[i] = fd_close(ends->fd[i]);
	ends->procs = fd_close(ends->procs);
}

static int fail_stdio(struct call *call, int r)
{
	return call_fail_errno(call, r, "the program's standard streams");
}

/* A terminal; its slave is opened through the master, not by a path (TIOCGPTPEER, Linux 4.13). */
static int open_terminal(struct job_process *job, const struct spec *spec,
	const Postern__V1__Terminal *terminal, struct ends *ends)
{
	struct winsize size = {.ws_row = (unsigned short)terminal->rows,
		.ws_col = (unsigned short)terminal->columns};
	int slave;

	job->master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (job->master < 0 || unlockpt(job->master) < 0)
		return -errno;
	slave = ioctl(job->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	ends->fd[0] = slave;
	/* As login does: the user's own, so that programs can open it by its name. */
	if (fchown(slave, spec->account.uid, (gid_t)-1) < 0 || ioctl(slave, TIOCSWINSZ, &size) < 0)
		return -errno;
	for (int i = 1; i < 3; i++) {
		ends->fd[i] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
		if (ends->fd[i] < 0)
			return -errno;
	}
	job->input.fd = fcntl(job->master, F_DUPFD_CLOEXEC, 3);
	job->output.fd = fcntl(job->master, F_DUPFD_CLOEXEC, 3);
	return job->input.fd < 0 || job->output.fd < 0 ? -errno : 0;
}

/* A pipe whose end in this process does not block, or /dev/null where ours is NULL. */
static int open_stream(int *ours, int *theirs, bool input)
{
	int pair[2];

	if (!ours) {
		*theirs = open("/dev/null", (input ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
		return *theirs < 0 ? -errno : 0;
	}
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	*ours = pair[input];
	*theirs = pair[!input];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int open_pipes(struct job_process *job, const struct spec *spec, struct ends *ends)
{
	int *ours[] = {&job->input.fd, &job->output.fd, &job->errors.fd};
	int r = 0;

	for (int i = 0; r == 0 && i < 3; i++)
		r = open_stream(spec->stdio[i] == POSTERN__V1__STDIO__NOWHERE ? NULL : ours[i],
			&ends->fd[i], i == 0);
	return r;
}

static int make_cgroup(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct ends *ends)
{
	struct job_process *job = call->program;
	struct cgroup_limits limits;
	int r;

	if (!request->cgroup)
		return 0;
	limits = (struct cgroup_limits){.memory_max = request->cgroup->memory_max,
		.pids_max = request->cgroup->pids_max,
		.cpu_percent = request->cgroup->cpu_percent};
	r = cgroup_make(job->facts.job, &limits, &ends->procs, &job->cgroup_kill);
	if (r == -EOPNOTSUPP)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, EOPNOTSUPP,
			"cgroup: the guest has no cgroup v2 at /sys/fs/cgroup, or not the "
			"controller");
	return r < 0 ? call_fail_errno(call, r, "cgroup") : 0;
}

/* What failed, in words: exec's own errors are never an exit code. */
static int fail_start(struct call *call, const struct spec *spec, int r, enum program_step step)
{
	static const char *const steps[] = {
		[PROGRAM_CLONE] = "a process for the program",
		[PROGRAM_SESSION] = "a session of its own",
		[PROGRAM_CGROUP] = "cgroup",
		[PROGRAM_STDIO] = "its standard streams",
		[PROGRAM_LIMIT] = "limits",
		[PROGRAM_ACCOUNT] = "user",
		[PROGRAM_CWD] = "cwd",
	};
	const char *name = spec->program.argv[0];

	if (step != PROGRAM_EXEC)
		return call_fail_errno(call, r, "%s", steps[step]);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "%s: not found%s",
			name, strchr(name, '/') ? ", or not its interpreter" : " in PATH");
	if (r == -ENOEXEC)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOEXEC,
			"%s: no program of this machine, nor a script with its interpreter in "
			"the first line (#!)",
			name);
	return call_fail_errno(call, r, "%s", name);
}

static void describe(struct job_process *job, const struct spec *spec)
{
	struct job_facts *facts = &job->job;
	size_t len = 0;

	facts->number = job->facts.job;
	facts->terminal = spec->program.terminal;
	facts->on_disconnect = (uint8_t)spec->on_disconnect;
	facts->keeps_spool = spec->spool_bytes > 0;
	facts->started_ns = clock_ns(CLOCK_REALTIME);
	(void)snprintf(facts->user, sizeof(facts->user), "%s", spec->account.name);
	for (char *const *word = spec->program.argv; *word && len + 1 < sizeof(facts->argv);
		word++) {
		(void)snprintf(facts->argv + len, sizeof(facts->argv) - len, "%s", *word);
		len += strlen(facts->argv + len) + 1;
	}
	facts->argv_len = (uint16_t)len;
}

static struct touched *touch; /* while a program is being started */

/* Should it hang there, the broker knows where. */
static void tell_reach(uint64_t device)
{
	touch_set(touch, device, TOUCH_START);
}

static int start(struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec,
	struct ends *ends, enum program_step *ret_step)
{
	struct job_process *job = call->program;
	struct inner_message changing = {.kind = INNER_CHANGING};
	int r;

	*ret_step = PROGRAM_CWD;
	r = reach_find(call, spec, job->quarantine);
	if (r < 0)
		return r;
	spec->program.reach = tell_reach;
	/* All is checked and looked up: from here on the rights are needed that the program gets.
	 */
	*ret_step = PROGRAM_CLONE;
	r = job_raise();
	if (r < 0)
		return r;
	*ret_step = PROGRAM_STDIO;
	r = spec->program.terminal ? open_terminal(job, spec, request->terminal, ends)
				   : open_pipes(job, spec, ends);
	if (r < 0)
		return fail_stdio(call, r);
	*ret_step = PROGRAM_CGROUP;
	r = make_cgroup(call, request, ends);
	if (r < 0)
		return r;
	spec->program.cgroup = ends->procs;
	memcpy(spec->program.stdio, ends->fd, sizeof(ends->fd));
	job->started_ns = monotonic_ns();
	(void)inner_send(job->broker, &changing, NULL, NULL, 0);
	touch = touch_open(job->broker);
	r = program_start(&spec->program, &job->job.pid, &job->pidfd, ret_step);
	touch_close(take_ptr(touch), job->broker);
	if (r < 0 && request->cgroup)
		cgroup_remove(job->facts.job);
	return r < 0 ? fail_start(call, spec, r, *ret_step) : 0;
}

int job_start(struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec,
	enum program_step *ret_step)
{
	struct job_process *job = call->program;
	struct ends ends = {{-EBADF, -EBADF, -EBADF}, -EBADF};
	int r = start(call, request, spec, &ends, ret_step);

	ends_close(&ends);
	if (r < 0)
		return r;
	job->on_disconnect = spec->on_disconnect;
	job->output.only_spool = spec->stdio[1] == POSTERN__V1__STDIO__SPOOL;
	job->errors.only_spool = spec->stdio[2] == POSTERN__V1__STDIO__SPOOL;
	job->output.spool.size = job->errors.spool.size = spec->spool_bytes;
	job->has_cgroup = request->cgroup != NULL;
	describe(job, spec);
	r = job_watch(job, spec->deadline_ms);
	if (r == 0)
		job_tell(job, TOPIC_exec_started);
	return r;
}
