/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/lane.h"
#include "agent/broker/footprint.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

/* Resident and proportional memory of /proc/PID/smaps_rollup (proc_pid_smaps(5)). statm would be
 * cheaper, but the kernel brings it up to date only now and then. */
static void memory_of(pid_t pid, uint64_t *ret_rss, uint64_t *ret_pss)
{
	AUTO_FILE FILE *file = NULL;
	char path[64], line[256];

	*ret_rss = *ret_pss = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		unsigned long kib;

		if (sscanf(line, "Rss: %lu kB", &kib) == 1)
			*ret_rss = (uint64_t)kib << 10;
		else if (sscanf(line, "Pss: %lu kB", &kib) == 1)
			*ret_pss = (uint64_t)kib << 10;
	}
}

static uint16_t descriptors_of(pid_t pid)
{
	char path[64];
	uint16_t n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			n++;
	(void)closedir(dir);
	return n;
}

static void add(struct footprint *footprint, pid_t pid, enum role role, bool spare)
{
	if (footprint->processes == FOOTPRINT_PROCESSES)
		return;
	footprint->process[footprint->processes].pid = pid;
	footprint->process[footprint->processes].role = (uint8_t)role;
	footprint->process[footprint->processes].spare = spare;
	memory_of(pid, &footprint->process[footprint->processes].rss_bytes,
		&footprint->process[footprint->processes].pss_bytes);
	footprint->process[footprint->processes].descriptors = descriptors_of(pid);
	footprint->processes++;
}

void footprint_take(const struct broker *broker, struct footprint *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->connections = (uint32_t)(broker->sessions_n + broker->pending_n);
	ret->calls = (uint32_t)(broker->calls_n + lane_count_slow(broker));
	ret->log_dropped = log_dropped();
	ret->generation = broker->facts.generation;
	add(ret, getpid(), ROLE_BROKER, false);
	LIST_EACH(&broker->children, node)
	{
		const struct child *child = container_of(node, struct child, node);

		add(ret, child->pid, child->role, child->spare);
	}
	for (size_t i = 0; i < STUCK_MAX; i++) {
		const struct stuck *stuck = &broker->stuck[i];

		if (stuck->pid == 0)
			continue;
		ret->stuck_process[ret->stuck].pid = stuck->pid;
		ret->stuck_process[ret->stuck].method = (uint16_t)stuck->method;
		ret->stuck_process[ret->stuck].age_ms =
			(monotonic_ns() - stuck->since_ns) / NSEC_PER_MSEC;
		ret->stuck_process[ret->stuck].device = stuck->device;
		ret->stuck++;
	}
}
