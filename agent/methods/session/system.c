/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/sandbox/confine.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

int system_ping(struct call *call, const Postern__V1__SystemPingRequest *request,
	Postern__V1__SystemPingReply *reply)
{
	(void)call;
	reply->has_payload = request->has_payload;
	reply->payload = request->payload;
	return 0;
}

/* Takes the quotes off a value of os-release(5), in place. */
static char *unquote(char *value)
{
	size_t len = strlen(value);
	char *to = value;

	if (len < 2 || (value[0] != '"' && value[0] != '\'') || value[len - 1] != value[0])
		return value;
	value[len - 1] = '\0';
	for (const char *from = value + 1; *from; from++) {
		if (*from == '\\' && from[1] != '\0')
			from++;
		*to++ = *from;
	}
	*to = '\0';
	return value;
}

static Postern__V1__OperatingSystem *read_os(struct call *call, int fd)
{
	Postern__V1__OperatingSystem *os = arena_alloc(call->arena, sizeof(*os));
	char *text = arena_alloc(call->arena, 8192), *rest = NULL;
	ssize_t n;

	if (!os || !text)
		return NULL;
	postern__v1__operating_system__init(os);
	n = fd < 0 ? 0 : pread(fd, text, 8191, 0);
	if (n <= 0)
		return os;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *value = strchr(line, '=');
		const struct {
			const char *key;
			protobuf_c_boolean *has;
			ProtobufCBinaryData *field;
		} keys[] = {
			{"ID", &os->has_id, &os->id},
			{"NAME", &os->has_name, &os->name},
			{"VERSION_ID", &os->has_version_id, &os->version_id},
			{"PRETTY_NAME", &os->has_pretty_name, &os->pretty_name},
		};

		if (!value)
			continue;
		*value++ = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (strcmp(line, keys[i].key) == 0) {
				*keys[i].field = call_text(call, unquote(value));
				*keys[i].has = true;
			}
	}
	return os;
}

static Postern__V1__Kernel *read_kernel(struct call *call, const struct utsname *uts)
{
	Postern__V1__Kernel *kernel = arena_alloc(call->arena, sizeof(*kernel));

	if (!kernel)
		return NULL;
	postern__v1__kernel__init(kernel);
	kernel->has_name = kernel->has_release = kernel->has_version = kernel->has_machine = true;
	kernel->name = call_text(call, uts->sysname);
	kernel->release = call_text(call, uts->release);
	kernel->version = call_text(call, uts->version);
	kernel->machine = call_text(call, uts->machine);
	return kernel;
}

static int add_processes(
	struct call *call, const struct footprint *footprint, Postern__V1__Agent *agent)
{
	agent->processes =
		arena_alloc(call->arena, footprint->processes * sizeof(*agent->processes));
	if (!agent->processes)
		return -ENOMEM;
	for (uint32_t i = 0; i < footprint->processes && i < FOOTPRINT_PROCESSES; i++) {
		Postern__V1__AgentProcess *process = arena_alloc(call->arena, sizeof(*process));

		if (!process)
			return -ENOMEM;
		postern__v1__agent_process__init(process);
		process->role = (char *)role_name((enum role)footprint->process[i].role);
		process->has_pid = process->has_rss_bytes = process->has_spare = true;
		process->pid = footprint->process[i].pid;
		process->rss_bytes = footprint->process[i].rss_bytes;
		process->has_pss_bytes = true;
		process->pss_bytes = footprint->process[i].pss_bytes;
		process->spare = footprint->process[i].spare;
		process->has_descriptors = true;
		process->descriptors = footprint->process[i].descriptors;
		agent->processes[agent->n_processes++] = process;
	}
	return 0;
}

static int add_stuck(
	struct call *call, const struct footprint *footprint, Postern__V1__Agent *agent)
{
	agent->stuck = arena_alloc(call->arena, STUCK_MAX * sizeof(*agent->stuck));
	if (!agent->stuck)
		return -ENOMEM;
	for (uint32_t i = 0; i < footprint->stuck && i < STUCK_MAX; i++) {
		Postern__V1__StuckProcess *stuck = arena_alloc(call->arena, sizeof(*stuck));
		uint64_t device = footprint->stuck_process[i].device;
		uint16_t method = footprint->stuck_process[i].method;

		if (!stuck)
			return -ENOMEM;
		postern__v1__stuck_process__init(stuck);
		stuck->has_pid = stuck->has_age_ms = true;
		stuck->pid = footprint->stuck_process[i].pid;
		stuck->age_ms = footprint->stuck_process[i].age_ms;
		stuck->method = method < METHOD_COUNT ? (char *)method_rows[method].name : NULL;
		if (device != 0 && !(device & DEVICE_OF_NEW(0)))
			stuck->device =
				arena_printf(call->arena, "%u:%u", major(device), minor(device));
		agent->stuck[agent->n_stuck++] = stuck;
	}
	return 0;
}

static Postern__V1__Agent *describe_agent(
	struct call *call, const struct session *session, const struct footprint *footprint)
{
	Postern__V1__Agent *agent = arena_alloc(call->arena, sizeof(*agent));

	if (!agent)
		return NULL;
	postern__v1__agent__init(agent);
	agent->version = (char *)session->facts.agent_version;
	agent->has_uptime_ms = agent->has_connections = agent->has_calls = true;
	agent->uptime_ms = (clock_ns(CLOCK_BOOTTIME) - session->facts.started_ns) / NSEC_PER_MSEC;
	agent->connections = footprint->connections;
	agent->calls = footprint->calls;
	agent->has_log_lines_dropped = true;
	agent->log_lines_dropped = footprint->log_dropped;
	if (add_processes(call, footprint, agent) < 0 || add_stuck(call, footprint, agent) < 0)
		return NULL;
	return agent;
}

int system_info(struct call *call, const Postern__V1__SystemInfoRequest *request,
	Postern__V1__SystemInfoReply *reply)
{
	struct session *session = call->program;
	const struct told *told;
	struct utsname uts;
	int r = session_ask(call, 0, 0, &told);

	(void)request;
	if (r < 0)
		return r;
	if (told->error || told->len != sizeof(struct footprint))
		return -EIO;
	if (uname(&uts) < 0)
		return -errno;
	reply->identity = session->facts.identity;
	reply->has_host_name = true;
	reply->host_name = call_text(call, uts.nodename);
	reply->os = read_os(call, session->fds[SESSION_FD_OS_RELEASE]);
	reply->kernel = read_kernel(call, &uts);
	reply->has_boot_id = true;
	reply->boot_id = call_bytes(call, session->facts.boot_id, sizeof(session->facts.boot_id));
	reply->has_generation = true;
	reply->generation = ((const struct footprint *)told->body)->generation;
	reply->has_uptime_ms = reply->has_time_ns = true;
	reply->uptime_ms = clock_ns(CLOCK_BOOTTIME) / NSEC_PER_MSEC;
	reply->time_ns = clock_ns(CLOCK_REALTIME);
	reply->init = session->facts.init;
	reply->agent = describe_agent(call, session, told->body);
	return reply->os && reply->kernel && reply->agent ? 0 : -ENOMEM;
}
