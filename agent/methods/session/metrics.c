/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What system_load.current and system.info tell, in the words of those who collect metrics. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/methods/prototypes.h"
#include "agent/sandbox/confine.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"

#define TEXT_MAX (256u << 10)
#define ROLES    (ROLE_KMOD + 1)

struct text {
	char *at;
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->at + text->len, TEXT_MAX - text->len, format, args);
	va_end(args);
	/* One that does not fit is left out, and all behind it. */
	if (n > 0 && (size_t)n < TEXT_MAX - text->len)
		text->len += (size_t)n;
}

static void family(struct text *text, const char *name, const char *type, const char *help)
{
	add(text, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

/* A kernel's name as a label's value. */
static const char *label(struct call *call, const ProtobufCBinaryData *name)
{
	char *out = arena_alloc(call->arena, 2 * name->len + 1), *to = out;

	for (size_t i = 0; out && i < name->len; i++) {
		if (name->data[i] == '"' || name->data[i] == '\\')
			*to++ = '\\';
		*to++ = name->data[i] == '\n' ? ' ' : (char)name->data[i];
	}
	return out ? out : "";
}

static void add_load(struct text *text, const Postern__V1__SystemLoadCurrentReply *load)
{
	family(text, "guest_load_average", "gauge", "Load average.");
	add(text, "guest_load_average{minutes=\"1\"} %g\n", load->load1);
	add(text, "guest_load_average{minutes=\"5\"} %g\n", load->load5);
	add(text, "guest_load_average{minutes=\"15\"} %g\n", load->load15);
	if (!load->processes)
		return;
	family(text, "guest_processes", "gauge", "Processes and threads.");
	add(text, "guest_processes{state=\"running\"} %u\n", load->processes->running);
	add(text, "guest_processes{state=\"blocked\"} %u\n", load->processes->blocked);
	add(text, "guest_processes{state=\"all\"} %u\n", load->processes->total);
	family(text, "guest_forks", "counter", "Forks since boot.");
	add(text, "guest_forks_total %llu\n", (unsigned long long)load->processes->forks);
}

static void add_cpus(struct text *text, const Postern__V1__SystemLoadCurrentReply *load)
{
	family(text, "guest_cpu_seconds", "counter", "Time of a processor since boot, by mode.");
	for (size_t i = 0; i < load->n_cpus; i++) {
		const Postern__V1__Cpu *cpu = load->cpus[i];
		const struct {
			const char *mode;
			uint64_t ms;
		} modes[] = {{"user", cpu->user_ms}, {"nice", cpu->nice_ms},
			{"system", cpu->system_ms}, {"idle", cpu->idle_ms},
			{"iowait", cpu->iowait_ms}, {"irq", cpu->irq_ms},
			{"softirq", cpu->softirq_ms}, {"steal", cpu->steal_ms}};

		for (size_t j = 0; j < ARRAY_SIZE(modes); j++)
			add(text, "guest_cpu_seconds_total{cpu=\"%u\",mode=\"%s\"} %.3f\n",
				cpu->index, modes[j].mode, (double)modes[j].ms / 1000);
	}
}

static void add_memory(struct text *text, const Postern__V1__SystemLoadCurrentReply *load)
{
	const Postern__V1__MemoryUse *memory = load->memory;
	const struct {
		const char *kind;
		uint64_t bytes;
	} kinds[] = {{"total", memory->total}, {"free", memory->free},
		{"available", memory->available}, {"buffers", memory->buffers},
		{"cached", memory->cached}, {"dirty", memory->dirty}, {"shmem", memory->shmem},
		{"slab", memory->slab}, {"swap_total", load->swap->total},
		{"swap_free", load->swap->free}};

	family(text, "guest_memory_bytes", "gauge", "Memory, as /proc/meminfo has it.");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		add(text, "guest_memory_bytes{kind=\"%s\"} %llu\n", kinds[i].kind,
			(unsigned long long)kinds[i].bytes);
}

static void add_pressure(struct text *text, const Postern__V1__SystemLoadCurrentReply *load)
{
	const struct {
		const char *resource;
		const Postern__V1__Pressure *pressure;
	} resources[] = {{"cpu", load->cpu_pressure}, {"memory", load->memory_pressure},
		{"io", load->io_pressure}};

	family(text, "guest_pressure_seconds", "counter",
		"Time in which some, or all, tasks waited for it (pressure stall information).");
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		const Postern__V1__Pressure *p = resources[i].pressure;

		if (!p)
			continue;
		add(text, "guest_pressure_seconds_total{resource=\"%s\",tasks=\"some\"} %.6f\n",
			resources[i].resource, (double)p->some_total_us / 1e6);
		if (p->has_full_total_us)
			add(text,
				"guest_pressure_seconds_total{resource=\"%s\",tasks=\"all\"} "
				"%.6f\n",
				resources[i].resource, (double)p->full_total_us / 1e6);
	}
}

static void add_disks(
	struct call *call, struct text *text, const Postern__V1__SystemLoadCurrentReply *load)
{
	family(text, "guest_disk_bytes_per_second", "gauge", "Rate at which a disk is used.");
	for (size_t i = 0; i < load->n_disks; i++) {
		const char *name = label(call, &load->disks[i]->name);

		add(text, "guest_disk_bytes_per_second{disk=\"%s\",way=\"read\"} %g\n", name,
			(double)load->disks[i]->read_bytes_per_s);
		add(text, "guest_disk_bytes_per_second{disk=\"%s\",way=\"write\"} %g\n", name,
			(double)load->disks[i]->write_bytes_per_s);
	}
	family(text, "guest_link_bytes_per_second", "gauge", "Rate at which a link is used.");
	for (size_t i = 0; i < load->n_links; i++) {
		const char *name = label(call, &load->links[i]->name);

		add(text, "guest_link_bytes_per_second{link=\"%s\",way=\"receive\"} %g\n", name,
			(double)load->links[i]->rx_bytes_per_s);
		add(text, "guest_link_bytes_per_second{link=\"%s\",way=\"send\"} %g\n", name,
			(double)load->links[i]->tx_bytes_per_s);
	}
}

/* Of each role together: one process more or less is no other series. */
static void add_agent(struct text *text, const struct footprint *footprint)
{
	uint64_t pss[ROLES] = {0}, processes[ROLES] = {0};

	for (uint32_t i = 0; i < footprint->processes && i < FOOTPRINT_PROCESSES; i++) {
		uint8_t role = footprint->process[i].role;

		if (role >= ROLES)
			continue;
		pss[role] += footprint->process[i].pss_bytes;
		processes[role]++;
	}
	family(text, "agent_memory_bytes", "gauge",
		"Memory of the agent's processes, with shared pages divided among all who share "
		"them.");
	for (int i = 0; i < ROLES; i++)
		add(text, "agent_memory_bytes{role=\"%s\"} %llu\n", role_name((enum role)i),
			(unsigned long long)pss[i]);
	family(text, "agent_processes", "gauge", "Processes of the agent.");
	for (int i = 0; i < ROLES; i++)
		add(text, "agent_processes{role=\"%s\"} %llu\n", role_name((enum role)i),
			(unsigned long long)processes[i]);
	family(text, "agent_connections", "gauge", "Open connections.");
	add(text, "agent_connections %u\n", footprint->connections);
	family(text, "agent_requests", "gauge", "Requests under way in workers.");
	add(text, "agent_requests %u\n", footprint->calls);
	family(text, "agent_stuck_processes", "gauge", "Processes that the kernel does not end.");
	add(text, "agent_stuck_processes %u\n", footprint->stuck);
	family(text, "agent_log_lines_dropped", "counter", "Log lines that nobody took.");
	add(text, "agent_log_lines_dropped_total %llu\n",
		(unsigned long long)footprint->log_dropped);
}

int metrics_get(struct call *call, const Postern__V1__MetricsGetRequest *request,
	Postern__V1__MetricsGetReply *reply)
{
	const Postern__V1__SystemLoadCurrentRequest none =
		POSTERN__V1__SYSTEM_LOAD_CURRENT_REQUEST__INIT;
	Postern__V1__SystemLoadCurrentReply load = POSTERN__V1__SYSTEM_LOAD_CURRENT_REPLY__INIT;
	const struct told *told;
	struct text text = {0};
	int r = session_ask(call, 0, 0, &told);

	(void)request;
	if (r < 0)
		return r;
	if (told->error || told->len != sizeof(struct footprint))
		return -EIO;
	text.at = arena_alloc(call->arena, TEXT_MAX);
	if (!text.at)
		return -ENOMEM;
	r = system_load_current(call, &none, &load);
	if (r < 0)
		return r;
	add_load(&text, &load);
	add_cpus(&text, &load);
	add_memory(&text, &load);
	add_pressure(&text, &load);
	add_disks(call, &text, &load);
	add_agent(&text, told->body);
	add(&text, "# EOF\n");
	reply->has_text = true;
	reply->text = (ProtobufCBinaryData){.len = text.len, .data = (uint8_t *)text.at};
	return 0;
}
