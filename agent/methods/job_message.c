/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/job_message.h"

#include <string.h>

static const Postern__V1__JobState states[] = {
	[JOB_RUNNING] = POSTERN__V1__JOB_STATE__RUNNING,
	[JOB_EXITED] = POSTERN__V1__JOB_STATE__EXITED,
	[JOB_SIGNALLED] = POSTERN__V1__JOB_STATE__SIGNALLED,
	[JOB_LOST] = POSTERN__V1__JOB_STATE__LOST,
};

static ProtobufCBinaryData text(const char *from, size_t size)
{
	return (ProtobufCBinaryData){.len = strnlen(from, size), .data = (uint8_t *)from};
}

/* The words that stand there one after the other, each with its NUL; the last may be cut. */
static int add_argv(struct arena *arena, const struct job_facts *facts, Postern__V1__Job *job)
{
	size_t len = facts->argv_len < sizeof(facts->argv) ? facts->argv_len : sizeof(facts->argv);

	job->argv = arena_alloc(arena, (len + 1) * sizeof(*job->argv));
	if (!job->argv)
		return -1;
	for (size_t at = 0; at < len;) {
		ProtobufCBinaryData word = text(facts->argv + at, len - at);

		job->argv[job->n_argv++] = word;
		at += word.len + 1;
	}
	return 0;
}

static int add_usage(struct arena *arena, const struct job_facts *facts, Postern__V1__Job *job)
{
	Postern__V1__ResourceUsage *usage = arena_alloc(arena, sizeof(*usage));

	if (!usage)
		return -1;
	postern__v1__resource_usage__init(usage);
	usage->has_user_us = usage->has_system_us = usage->has_max_rss_bytes = true;
	usage->user_us = facts->user_us;
	usage->system_us = facts->system_us;
	usage->max_rss_bytes = facts->max_rss_bytes;
	usage->has_minor_faults = usage->has_major_faults = true;
	usage->minor_faults = facts->minor_faults;
	usage->major_faults = facts->major_faults;
	usage->has_blocks_in = usage->has_blocks_out = true;
	usage->blocks_in = facts->blocks_in;
	usage->blocks_out = facts->blocks_out;
	usage->has_voluntary_switches = usage->has_involuntary_switches = true;
	usage->voluntary_switches = facts->voluntary_switches;
	usage->involuntary_switches = facts->involuntary_switches;
	job->usage = usage;
	return 0;
}

static int add_end(struct arena *arena, const struct job_facts *facts, Postern__V1__Job *job)
{
	job->has_ended_ns = true;
	job->ended_ns = facts->ended_ns;
	if (facts->state == JOB_LOST)
		return 0;
	job->has_exit_code = facts->state == JOB_EXITED;
	job->exit_code = facts->exit_code;
	job->has_signal = job->has_core_dumped = facts->state == JOB_SIGNALLED;
	job->signal = facts->signal;
	job->core_dumped = facts->core_dumped;
	job->has_deadline_exceeded = job->has_wall_ns = true;
	job->deadline_exceeded = facts->deadline_exceeded;
	job->wall_ns = facts->wall_ns;
	job->has_output_bytes = job->has_errors_bytes = true;
	job->output_bytes = facts->output_bytes;
	job->errors_bytes = facts->errors_bytes;
	return add_usage(arena, facts, job);
}

Postern__V1__Job *job_message(struct arena *arena, const struct job_facts *facts)
{
	Postern__V1__Job *job = arena_alloc(arena, sizeof(*job));

	if (!job || facts->state > JOB_LOST)
		return NULL;
	postern__v1__job__init(job);
	if (add_argv(arena, facts, job) < 0)
		return NULL;
	job->has_job = job->has_pid = job->has_user = job->has_terminal = true;
	job->job = facts->number;
	job->pid = facts->pid;
	job->user = text(facts->user, sizeof(facts->user));
	job->terminal = facts->terminal;
	job->has_state = job->has_started_ns = job->has_attached = job->has_on_disconnect = true;
	job->state = states[facts->state];
	job->started_ns = facts->started_ns;
	job->attached = facts->attached;
	job->on_disconnect = (Postern__V1__Disconnect)facts->on_disconnect;
	if (facts->state != JOB_RUNNING && add_end(arena, facts, job) < 0)
		return NULL;
	return job;
}
