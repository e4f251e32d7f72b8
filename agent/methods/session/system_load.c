/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/history.h"
#include "agent/methods/lent.h"
#include "agent/methods/prototypes.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define CPUS_MAX 1024

static void read_loadavg(struct call *call, int fd, Postern__V1__SystemLoadCurrentReply *reply)
{
	Postern__V1__Processes *processes = arena_alloc(call->arena, sizeof(*processes));

	if (!processes)
		return;
	postern__v1__processes__init(processes);
	if (sscanf(lent_text(call, fd), "%lf %lf %lf %u/%u", &reply->load1, &reply->load5,
		    &reply->load15, &processes->running, &processes->total) != 5)
		return;
	reply->has_load1 = reply->has_load5 = reply->has_load15 = true;
	processes->has_running = processes->has_total = true;
	reply->processes = processes;
}

/* One "cpu..." line of /proc/stat; NULL without memory. */
static Postern__V1__Cpu *parse_cpu(struct call *call, const char *line)
{
	Postern__V1__Cpu *cpu = arena_alloc(call->arena, sizeof(*cpu));
	uint64_t to_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	unsigned long long ticks[8] = {0};

	if (!cpu)
		return NULL;
	postern__v1__cpu__init(cpu);
	if (line[3] != ' ') {
		cpu->has_index = true;
		cpu->index = (uint32_t)strtoul(line + 3, NULL, 10);
	}
	(void)sscanf(line + strcspn(line, " "), "%llu %llu %llu %llu %llu %llu %llu %llu",
		&ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
		&ticks[7]);
	cpu->has_user_ms = cpu->has_nice_ms = cpu->has_system_ms = cpu->has_idle_ms = true;
	cpu->has_iowait_ms = cpu->has_irq_ms = cpu->has_softirq_ms = cpu->has_steal_ms = true;
	cpu->user_ms = ticks[0] * to_ms;
	cpu->nice_ms = ticks[1] * to_ms;
	cpu->system_ms = ticks[2] * to_ms;
	cpu->idle_ms = ticks[3] * to_ms;
	cpu->iowait_ms = ticks[4] * to_ms;
	cpu->irq_ms = ticks[5] * to_ms;
	cpu->softirq_ms = ticks[6] * to_ms;
	cpu->steal_ms = ticks[7] * to_ms;
	return cpu;
}

static int read_stat(struct call *call, int fd, Postern__V1__SystemLoadCurrentReply *reply)
{
	char *rest = NULL, *text = lent_text(call, fd);

	reply->cpus = arena_alloc(call->arena, CPUS_MAX * sizeof(*reply->cpus));
	if (!reply->cpus)
		return -ENOMEM;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		Postern__V1__Processes *processes = reply->processes;

		if (strncmp(line, "cpu", 3) == 0) {
			Postern__V1__Cpu *cpu = parse_cpu(call, line);

			if (!cpu)
				return -ENOMEM;
			if (!cpu->has_index)
				reply->cpu_total = cpu;
			else if (reply->n_cpus < CPUS_MAX)
				reply->cpus[reply->n_cpus++] = cpu;
		} else if (processes && sscanf(line, "processes %lu", &processes->forks) == 1) {
			processes->has_forks = true;
		} else if (processes &&
			   sscanf(line, "procs_blocked %u", &processes->blocked) == 1) {
			processes->has_blocked = true;
		}
	}
	return 0;
}

static int read_meminfo(struct call *call, int fd, Postern__V1__SystemLoadCurrentReply *reply)
{
	Postern__V1__MemoryUse *memory = arena_alloc(call->arena, sizeof(*memory));
	Postern__V1__Swap *swap = arena_alloc(call->arena, sizeof(*swap));
	char *rest = NULL, *text = lent_text(call, fd);

	if (!memory || !swap)
		return -ENOMEM;
	postern__v1__memory_use__init(memory);
	postern__v1__swap__init(swap);
	const struct {
		const char *name;
		uint64_t *value;
		protobuf_c_boolean *has;
	} fields[] = {
		{"MemTotal", &memory->total, &memory->has_total},
		{"MemFree", &memory->free, &memory->has_free},
		{"MemAvailable", &memory->available, &memory->has_available},
		{"Buffers", &memory->buffers, &memory->has_buffers},
		{"Cached", &memory->cached, &memory->has_cached},
		{"Dirty", &memory->dirty, &memory->has_dirty},
		{"Shmem", &memory->shmem, &memory->has_shmem},
		{"Slab", &memory->slab, &memory->has_slab},
		{"SwapTotal", &swap->total, &swap->has_total},
		{"SwapFree", &swap->free, &swap->has_free},
	};
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			if (strcmp(line, fields[i].name) == 0) {
				*fields[i].value = strtoull(colon + 1, NULL, 10) << 10;
				*fields[i].has = true;
			}
	}
	reply->memory = memory;
	reply->swap = swap;
	return 0;
}

static Postern__V1__Pressure *read_pressure(struct call *call, int fd)
{
	Postern__V1__Pressure *p;
	const char *text, *full;

	if (fd < 0)
		return NULL;
	p = arena_alloc(call->arena, sizeof(*p));
	if (!p)
		return NULL;
	postern__v1__pressure__init(p);
	text = lent_text(call, fd);
	if (sscanf(text, "some avg10=%lf avg60=%lf avg300=%lf total=%lu", &p->some_avg10,
		    &p->some_avg60, &p->some_avg300, &p->some_total_us) != 4)
		return NULL;
	p->has_some_avg10 = p->has_some_avg60 = p->has_some_avg300 = p->has_some_total_us = true;
	full = strstr(text, "full ");
	if (full && sscanf(full, "full avg10=%lf avg60=%lf avg300=%lf total=%lu", &p->full_avg10,
			    &p->full_avg60, &p->full_avg300, &p->full_total_us) == 4)
		p->has_full_avg10 = p->has_full_avg60 = p->has_full_avg300 = p->has_full_total_us =
			true;
	return p;
}

static void add_disks(
	struct call *call, struct rates *rates, Postern__V1__SystemLoadCurrentReply *reply)
{
	reply->disks = arena_alloc(call->arena, RATES_MAX * sizeof(*reply->disks));
	for (uint32_t i = 0; reply->disks && i < rates->disks && i < RATES_MAX; i++) {
		struct disk_rate *from = &rates->disk[i];
		Postern__V1__DiskRate *to = arena_alloc(call->arena, sizeof(*to));

		if (!to)
			return;
		postern__v1__disk_rate__init(to);
		from->name[sizeof(from->name) - 1] = '\0';
		to->has_name = to->has_busy_percent = true;
		to->name = call_text(call, from->name);
		to->has_read_bytes_per_s = to->has_write_bytes_per_s = true;
		to->read_bytes_per_s = from->read_bytes;
		to->write_bytes_per_s = from->write_bytes;
		to->has_reads_per_s = to->has_writes_per_s = true;
		to->reads_per_s = from->reads;
		to->writes_per_s = from->writes;
		to->busy_percent = from->busy_percent;
		reply->disks[reply->n_disks++] = to;
	}
}

static void add_links(
	struct call *call, struct rates *rates, Postern__V1__SystemLoadCurrentReply *reply)
{
	reply->links = arena_alloc(call->arena, RATES_MAX * sizeof(*reply->links));
	for (uint32_t i = 0; reply->links && i < rates->links && i < RATES_MAX; i++) {
		struct link_rate *from = &rates->link[i];
		Postern__V1__LinkRate *to = arena_alloc(call->arena, sizeof(*to));

		if (!to)
			return;
		postern__v1__link_rate__init(to);
		from->name[sizeof(from->name) - 1] = '\0';
		to->has_name = to->has_errors_per_s = true;
		to->name = call_text(call, from->name);
		to->has_rx_bytes_per_s = to->has_tx_bytes_per_s = true;
		to->rx_bytes_per_s = from->rx_bytes;
		to->tx_bytes_per_s = from->tx_bytes;
		to->has_rx_packets_per_s = to->has_tx_packets_per_s = true;
		to->rx_packets_per_s = from->rx_packets;
		to->tx_packets_per_s = from->tx_packets;
		to->errors_per_s = from->errors;
		reply->links[reply->n_links++] = to;
	}
}

static void read_rates(struct call *call, int fd, Postern__V1__SystemLoadCurrentReply *reply)
{
	struct rates *rates = arena_alloc(call->arena, sizeof(*rates));

	/* Met half-way at worst twice: the watcher writes once in seconds. */
	for (int i = 0; rates && fd >= 0 && i < 3; i++) {
		if (pread(fd, rates, sizeof(*rates), 0) != (ssize_t)sizeof(*rates) ||
			rates->magic != RATES_MAGIC || rates->interval_ns == 0)
			return;
		if (rates->begin != rates->end)
			continue;
		reply->has_rates_interval_ms = true;
		reply->rates_interval_ms = rates->interval_ns / NSEC_PER_MSEC;
		add_disks(call, rates, reply);
		add_links(call, rates, reply);
		return;
	}
}

int system_load_current(struct call *call, const Postern__V1__SystemLoadCurrentRequest *request,
	Postern__V1__SystemLoadCurrentReply *reply)
{
	const struct session *session = call->program;
	const int *fds = session->fds;
	int r;

	(void)request;
	reply->has_time_ns = true;
	reply->time_ns = clock_ns(CLOCK_REALTIME);
	read_loadavg(call, fds[SESSION_FD_LOADAVG], reply);
	r = read_stat(call, fds[SESSION_FD_STAT], reply);
	if (r == 0)
		r = read_meminfo(call, fds[SESSION_FD_MEMINFO], reply);
	if (r < 0)
		return r;
	reply->cpu_pressure = read_pressure(call, fds[SESSION_FD_PSI_CPU]);
	reply->memory_pressure = read_pressure(call, fds[SESSION_FD_PSI_MEMORY]);
	reply->io_pressure = read_pressure(call, fds[SESSION_FD_PSI_IO]);
	read_rates(call, fds[SESSION_FD_RATES], reply);
	return 0;
}
