/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/methods/sysfs.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define FOLDER    "/sys/devices/system/memory"
#define ZONES_MAX 8
#define PART_MAX  2048 /* blocks in one part of the answer */

/* "Normal", of one that is in use; "Normal Movable", of one that is not; "none" where they differ.
 */
static int read_zones(struct call *call, Postern__V1__MemoryBlock *block)
{
	char text[128], *rest = NULL;

	if (sysfs_text(text, sizeof(text), FOLDER "/memory%u/valid_zones", block->id) < 0 ||
		strcmp(text, "none") == 0)
		return 0;
	block->zones = arena_alloc(call->arena, ZONES_MAX * sizeof(*block->zones));
	if (!block->zones)
		return -ENOMEM;
	for (char *zone = strtok_r(text, " ", &rest); zone && block->n_zones < ZONES_MAX;
		zone = strtok_r(NULL, " ", &rest)) {
		block->zones[block->n_zones] = arena_strdup(call->arena, zone);
		if (!block->zones[block->n_zones++])
			return -ENOMEM;
	}
	return 0;
}

static Postern__V1__MemoryBlock *describe(struct call *call, uint32_t id, uint64_t size)
{
	Postern__V1__MemoryBlock *block = arena_alloc(call->arena, sizeof(*block));
	char state[32];
	uint64_t value;

	if (!block)
		return NULL;
	postern__v1__memory_block__init(block);
	block->has_id = block->has_online = block->has_removable = true;
	block->id = id;
	(void)sysfs_text(state, sizeof(state), FOLDER "/memory%u/state", id);
	block->online = strcmp(state, "online") == 0;
	block->removable =
		sysfs_number(10, &value, FOLDER "/memory%u/removable", id) == 0 && value != 0;
	/* It counts in blocks, whatever its name says. */
	block->has_address = sysfs_number(16, &value, FOLDER "/memory%u/phys_index", id) == 0;
	block->address = block->has_address ? value * size : 0;
	for (uint32_t node = 0; node < 64 && !block->has_node; node++) {
		char path[64];

		(void)snprintf(path, sizeof(path), FOLDER "/memory%u/node%u", id, node);
		block->has_node = access(path, F_OK) == 0;
		block->node = block->has_node ? node : 0;
	}
	return read_zones(call, block) < 0 ? NULL : block;
}

static int find_all(struct call *call, uint32_t **ret, size_t *ret_n, uint64_t *ret_size)
{
	int r = sysfs_numbers(call, FOLDER, "memory", ret, ret_n);

	if (r == 0)
		r = sysfs_number(16, ret_size, FOLDER "/block_size_bytes");
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENOENT,
			"the kernel was built without memory hot-plug");
	return r < 0 ? call_fail_errno(call, r, "the blocks of memory") : 0;
}

int memory_blocks(struct call *call, const Postern__V1__MemoryBlocksRequest *request,
	Postern__V1__MemoryBlocksReply *reply)
{
	size_t n, bytes = 0;
	uint32_t *ids;
	int r = find_all(call, &ids, &n, &reply->block_size);

	(void)request;
	if (r < 0)
		return r;
	reply->has_block_size = true;
	reply->blocks = arena_alloc(call->arena, PART_MAX * sizeof(*reply->blocks));
	if (!reply->blocks)
		return -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++) {
		Postern__V1__MemoryBlock *block = describe(call, ids[i], reply->block_size);
		size_t len = block ? protobuf_c_message_get_packed_size(&block->base) + 4 : 0;

		if (!block)
			return -ENOMEM;
		if (reply->n_blocks == PART_MAX ||
			(reply->n_blocks > 0 && bytes + len > call_part_size(call))) {
			r = call_more(call, &reply->base);
			reply->n_blocks = bytes = 0;
		}
		reply->blocks[reply->n_blocks++] = block;
		bytes += len;
	}
	return r;
}

static int switch_one(
	struct call *call, uint32_t id, const char *to, Postern__V1__MemorySetBlocksReply *reply)
{
	Postern__V1__MemoryBlockProblem *problem;
	char state[32];
	int r = sysfs_text(state, sizeof(state), FOLDER "/memory%u/state", id);

	if (r == 0 && strcmp(state, "online") == 0 && strcmp(to, "offline") != 0)
		return 0;
	if (r == 0 && strcmp(state, to) != 0)
		r = sysfs_write(to, FOLDER "/memory%u/state", id);
	if (r == 0)
		return 0;
	problem = arena_alloc(call->arena, sizeof(*problem));
	if (!problem)
		return -ENOMEM;
	postern__v1__memory_block_problem__init(problem);
	problem->has_id = problem->has_sys_errno = true;
	problem->id = id;
	problem->sys_errno = -r;
	problem->message = arena_strdup(call->arena, strerror(-r));
	reply->problems[reply->n_problems++] = problem;
	return 0;
}

/* Those that were named, in the request's order. */
static int tell(struct call *call, const Postern__V1__MemorySetBlocksRequest *request,
	uint64_t size, Postern__V1__MemorySetBlocksReply *reply)
{
	for (size_t i = 0; i < request->n_online + request->n_offline; i++) {
		uint32_t id = i < request->n_online ? request->online[i]
						    : request->offline[i - request->n_online];

		reply->blocks[i] = describe(call, id, size);
		if (!reply->blocks[i])
			return -ENOMEM;
		reply->n_blocks++;
	}
	return 0;
}

int memory_set_blocks(struct call *call, const Postern__V1__MemorySetBlocksRequest *request,
	Postern__V1__MemorySetBlocksReply *reply)
{
	size_t n, named = request->n_online + request->n_offline;
	uint64_t size = 0;
	uint32_t *ids;
	int r = find_all(call, &ids, &n, &size);

	if (r == 0)
		r = sysfs_check(call, "block of memory", ids, n, request->online, request->n_online,
			request->offline, request->n_offline);
	if (r < 0)
		return r;
	reply->blocks = arena_alloc(call->arena, named * sizeof(*reply->blocks));
	reply->problems = arena_alloc(call->arena, named * sizeof(*reply->problems));
	if (!reply->blocks || !reply->problems)
		return -ENOMEM;
	worker_changing(call);
	call->outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	for (size_t i = 0; i < request->n_online && r == 0; i++)
		r = switch_one(call, request->online[i],
			request->movable ? "online_movable" : "online", reply);
	for (size_t i = 0; i < request->n_offline && r == 0; i++)
		r = switch_one(call, request->offline[i], "offline", reply);
	return r == 0 ? tell(call, request, size, reply) : r;
}

int memory_probe(struct call *call, const Postern__V1__MemoryProbeRequest *request,
	Postern__V1__MemoryProbeReply *reply)
{
	char *address = arena_printf(call->arena, "0x%llx", (unsigned long long)request->address);
	int r;

	(void)reply;
	if (!address)
		return -ENOMEM;
	if (access(FOLDER "/probe", F_OK) < 0)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENOENT,
			"this kernel finds plugged memory by itself (CONFIG_ARCH_MEMORY_PROBE is "
			"off)");
	if (!request->has_address)
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "address must be given");
	worker_changing(call);
	r = sysfs_write(address, FOLDER "/probe");
	return r < 0 ? call_fail_errno(call, r, "memory at %s", address) : 0;
}
