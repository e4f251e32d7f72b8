/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/methods/sysfs.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define FOLDER "/sys/devices/system/cpu"

/* The number of a folder nodeN in the processor's. */
static void find_node(struct call *call, Postern__V1__Processor *cpu)
{
	char *folder = arena_printf(call->arena, FOLDER "/cpu%u", cpu->id);
	uint32_t *nodes;
	size_t n;

	cpu->has_node = folder && sysfs_numbers(call, folder, "node", &nodes, &n) == 0 && n > 0;
	if (cpu->has_node)
		cpu->node = nodes[0];
}

/* Where the kernel takes a processor never out of use, it has no switch. */
static void describe(struct call *call, Postern__V1__Processor *cpu)
{
	uint64_t value;
	int r = sysfs_number(10, &value, FOLDER "/cpu%u/online", cpu->id);

	cpu->has_online = cpu->has_can_offline = true;
	cpu->online = r < 0 || value != 0;
	cpu->can_offline = r == 0;
	cpu->has_package = sysfs_number(10, &value, FOLDER "/cpu%u/topology/physical_package_id",
				   cpu->id) == 0 &&
			   (int64_t)value >= 0;
	cpu->package = cpu->has_package ? (int32_t)value : 0;
	cpu->has_core = sysfs_number(10, &value, FOLDER "/cpu%u/topology/core_id", cpu->id) == 0;
	cpu->core = cpu->has_core ? (int32_t)value : 0;
	find_node(call, cpu);
}

static int list(struct call *call, const uint32_t *ids, size_t n, Postern__V1__Processor ***ret)
{
	Postern__V1__Processor *last = NULL;
	size_t online = 0;

	*ret = arena_alloc(call->arena, (n + 1) * sizeof(**ret));
	for (size_t i = 0; *ret && i < n; i++) {
		Postern__V1__Processor *cpu = arena_alloc(call->arena, sizeof(*cpu));

		if (!cpu)
			return -ENOMEM;
		postern__v1__processor__init(cpu);
		cpu->has_id = true;
		cpu->id = ids[i];
		describe(call, cpu);
		online += cpu->online ? 1 : 0;
		last = cpu->online ? cpu : last;
		(*ret)[i] = cpu;
	}
	if (online == 1)
		last->can_offline = false;
	return *ret ? 0 : -ENOMEM;
}

static int find_all(struct call *call, uint32_t **ret, size_t *ret_n)
{
	int r = sysfs_numbers(call, FOLDER, "cpu", ret, ret_n);

	return r < 0 ? call_fail_errno(call, r, "the processors") : 0;
}

int cpus_list(struct call *call, const Postern__V1__CpusListRequest *request,
	Postern__V1__CpusListReply *reply)
{
	uint32_t *ids;
	int r = find_all(call, &ids, &reply->n_cpus);

	(void)request;
	if (r == 0)
		r = list(call, ids, reply->n_cpus, &reply->cpus);
	return r;
}

/* Whether all that are named can be switched, and one is left. */
static int check(struct call *call, const Postern__V1__CpusSetRequest *request,
	Postern__V1__Processor *const *cpus, size_t n)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		bool off = sysfs_has(request->offline, request->n_offline, cpus[i]->id);
		bool on = sysfs_has(request->online, request->n_online, cpus[i]->id);

		left += !off && (on || cpus[i]->online);
		if (off && access(arena_printf(call->arena, FOLDER "/cpu%u/online", cpus[i]->id),
				   F_OK) < 0)
			return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
				"this kernel keeps processor %u in use always", cpus[i]->id);
	}
	if (left == 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
			"the last processor stays in use");
	return 0;
}

static int switch_one(
	struct call *call, uint32_t id, const char *to, Postern__V1__CpusSetReply *reply)
{
	uint64_t now;
	int r = sysfs_number(10, &now, FOLDER "/cpu%u/online", id);
	Postern__V1__ProcessorProblem *problem;

	/* One without a switch is in use. */
	if (r == -ENOENT || (r == 0 && now == (uint64_t)(to[0] - '0')))
		return 0;
	if (r == 0)
		r = sysfs_write(to, FOLDER "/cpu%u/online", id);
	if (r == 0)
		return 0;
	problem = arena_alloc(call->arena, sizeof(*problem));
	if (!problem)
		return -ENOMEM;
	postern__v1__processor_problem__init(problem);
	problem->has_id = problem->has_sys_errno = true;
	problem->id = id;
	problem->sys_errno = -r;
	problem->message = arena_strdup(call->arena, strerror(-r));
	reply->problems[reply->n_problems++] = problem;
	return 0;
}

int cpus_set(struct call *call, const Postern__V1__CpusSetRequest *request,
	Postern__V1__CpusSetReply *reply)
{
	uint32_t *ids;
	int r = find_all(call, &ids, &reply->n_cpus);

	if (r == 0)
		r = sysfs_check(call, "processor", ids, reply->n_cpus, request->online,
			request->n_online, request->offline, request->n_offline);
	if (r == 0)
		r = list(call, ids, reply->n_cpus, &reply->cpus);
	if (r == 0)
		r = check(call, request, reply->cpus, reply->n_cpus);
	if (r < 0)
		return r;
	reply->problems = arena_alloc(
		call->arena, (request->n_online + request->n_offline) * sizeof(*reply->problems));
	if (!reply->problems)
		return -ENOMEM;
	worker_changing(call);
	call->outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	for (size_t i = 0; i < request->n_online && r == 0; i++)
		r = switch_one(call, request->online[i], "1", reply);
	for (size_t i = 0; i < request->n_offline && r == 0; i++)
		r = switch_one(call, request->offline[i], "0", reply);
	return r == 0 ? list(call, ids, reply->n_cpus, &reply->cpus) : r;
}
