/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/job/job.h"
#include "agent/methods/job_message.h"
#include "agent/notify.h"
#include "notifications.pb-c.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define TERM_MS 5000 /* from SIGTERM to SIGKILL when its time is over */

int job_signal(const struct job_process *job, int signal, bool only_leader)
{
	if (job->ended)
		return -ESRCH;
	return kill(only_leader ? job->job.pid : -job->job.pid, signal) < 0 ? -errno : 0;
}

static void kill_all(const struct job_process *job)
{
	(void)job_signal(job, SIGKILL, false);
	/* Also what has left its process group. */
	if (job->cgroup_kill >= 0 && write(job->cgroup_kill, "1", 1) != 1)
		(void)job_signal(job, SIGKILL, true);
}

static void hang_up(struct job_process *job)
{
	(void)job_signal(job, SIGHUP, false);
	(void)job_signal(job, SIGCONT, false);
	input_close(&job->input);
	if (job->master < 0)
		return;
	/* The kernel hangs up the terminal for all who have it once we have closed it. */
	output_end(&job->output);
	job->master = fd_close(job->master);
}

static void let_caller_go(struct job_process *job)
{
	if (job->on_disconnect == POSTERN__V1__DISCONNECT__KILL)
		kill_all(job);
	else if (job->on_disconnect == POSTERN__V1__DISCONNECT__HANG_UP)
		hang_up(job);
}

void job_abandon(struct job_process *job)
{
	if (job->started && !job->ended)
		let_caller_go(job);
}

void job_disconnected(struct job_process *job)
{
	if (!job->started || job->ended || port_is_used(&job->stdio) ||
		port_is_used(&job->errors_port))
		return;
	let_caller_go(job);
	output_update(&job->output);
	output_update(&job->errors);
}

static void on_deadline(struct loop_timer *timer)
{
	struct job_process *job = container_of(timer, struct job_process, deadline);

	if (job->job.deadline_exceeded) {
		kill_all(job);
		return;
	}
	job->job.deadline_exceeded = true;
	(void)job_signal(job, SIGTERM, false);
	(void)job_signal(job, SIGCONT, false);
	loop_timer_set(&job->loop, timer, monotonic_ns() + TERM_MS * NSEC_PER_MSEC);
}

static uint64_t to_us(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

static void record_end(struct job_process *job, int status, const struct rusage *usage)
{
	struct job_facts *facts = &job->job;

	facts->state = WIFEXITED(status) ? JOB_EXITED : JOB_SIGNALLED;
	facts->exit_code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
	facts->signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	facts->core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
	facts->ended_ns = clock_ns(CLOCK_REALTIME);
	facts->wall_ns = monotonic_ns() - job->started_ns;
	facts->output_bytes = output_total(&job->output) + output_left(&job->output);
	facts->errors_bytes = output_total(&job->errors) + output_left(&job->errors);
	facts->user_us = to_us(&usage->ru_utime);
	facts->system_us = to_us(&usage->ru_stime);
	facts->max_rss_bytes = (uint64_t)usage->ru_maxrss << 10;
	facts->minor_faults = (uint64_t)usage->ru_minflt;
	facts->major_faults = (uint64_t)usage->ru_majflt;
	facts->blocks_in = (uint64_t)usage->ru_inblock;
	facts->blocks_out = (uint64_t)usage->ru_oublock;
	facts->voluntary_switches = (uint64_t)usage->ru_nvcsw;
	facts->involuntary_switches = (uint64_t)usage->ru_nivcsw;
}

static void on_end(struct loop_io *io, uint32_t events)
{
	struct job_process *job = container_of(io, struct job_process, pid_io);
	struct rusage usage;
	int status;

	(void)events;
	if (wait4(job->job.pid, &status, WNOHANG, &usage) <= 0)
		return;
	loop_io_del(io);
	loop_timer_del(&job->deadline);
	job->ended = true;
	record_end(job, status, &usage);
	input_close(&job->input);
	/* Whoever waits for the end hears of it before those who only watch. */
	job_tell(job, TOPIC_exec_exited);
	arena_reset(&job->arena);
	output_update(&job->output);
	output_update(&job->errors);
	job_check(job);
}

void job_tell(struct job_process *job, enum topic topic)
{
	struct inner_message message = {.kind = INNER_JOB, .body_len = sizeof(job->job)};
	Postern__V1__NotifyExecStarted notify = POSTERN__V1__NOTIFY_EXEC_STARTED__INIT;
	Postern__V1__NotifyExecExited exited = POSTERN__V1__NOTIFY_EXEC_EXITED__INIT;

	(void)inner_send(job->broker, &message, &job->job, NULL, 0);
	notify.job = exited.job = job_message(&job->arena, &job->job);
	if (notify.job)
		notify_send(job->broker, &job->arena, topic,
			topic == TOPIC_exec_started ? &notify.base : &exited.base);
}

int job_watch(struct job_process *job, uint64_t deadline_ms)
{
	int r;

	job->pid_io.fn = on_end;
	r = loop_io_add(&job->loop, &job->pid_io, job->pidfd, EPOLLIN);
	if (r < 0)
		return r;
	job->deadline.fn = on_deadline;
	if (deadline_ms > 0)
		loop_timer_set(
			&job->loop, &job->deadline, job->started_ns + deadline_ms * NSEC_PER_MSEC);
	job->started = true;
	output_update(&job->output);
	output_update(&job->errors);
	return 0;
}

/* What the program left to a process of its own is read as long as somebody may want it. */
static void let_go(struct job_process *job, struct output *output)
{
	if (output->fd >= 0 && !port_is_used(output->port) &&
		(!job->job.keeps_spool || job->forgotten))
		output_done(output);
}

void job_check(struct job_process *job)
{
	if (!job->started || !job->ended)
		return;
	/* A client may be as slow as it likes until the room of its program's record is wanted. */
	if (job->forgotten)
		vsh_leave(&job->vsh);
	vsh_finish(&job->vsh);
	port_finish(&job->stdio);
	port_finish(&job->errors_port);
	let_go(job, &job->output);
	let_go(job, &job->errors);
	if (port_is_used(&job->stdio) || port_is_used(&job->errors_port) || vsh_is_open(&job->vsh))
		return;
	if (!job->job.keeps_spool || job->forgotten)
		loop_stop(&job->loop, 0);
}
