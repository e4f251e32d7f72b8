/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "host/cli/agent.h"
#include "host/cli/show.h"
#include "host/cli/plot.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"

static const struct cli_option options[] = {
	{"history", 'H', NULL, "the last day as a plot"},
	{"range", 'r', CLI_TIME, "only so far back"},
	{"step", 's', CLI_TIME, "to one point (default: the sampler's interval)"},
	{"show", 0, "WHAT", "load1 (default), cpu_percent, memory_available, cpu_pressure, ..."},
	{"aggregation", 'a', "HOW", "AVERAGE (default), MINIMUM, MAXIMUM or LAST"},
	{0},
};

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void print_pressure(const json_t *load, const char *key, const char *head)
{
	const json_t *pressure = json_object_get(load, key);

	if (pressure)
		show_line("%-14ssome %.2f%% %.2f%% %.2f%%, full %.2f%% %.2f%% %.2f%%", head,
			number(pressure, "some_avg10"), number(pressure, "some_avg60"),
			number(pressure, "some_avg300"), number(pressure, "full_avg10"),
			number(pressure, "full_avg60"), number(pressure, "full_avg300"));
}

/* Share of time since boot that a core was busy. */
static double busy_percent(const json_t *cpu)
{
	double idle = number(cpu, "idle_ms") + number(cpu, "iowait_ms");
	double busy = number(cpu, "user_ms") + number(cpu, "nice_ms") + number(cpu, "system_ms") +
		      number(cpu, "irq_ms") + number(cpu, "softirq_ms") + number(cpu, "steal_ms");

	return busy + idle > 0 ? 100 * busy / (busy + idle) : 0;
}

static void print_rates(const json_t *load)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(load, "disks"), i, one)
	{
		show_line("%-14s%s: %s/s read, %s/s written, busy %.0f%%", i == 0 ? "Disks:" : "",
			agent_text(one, "name"), human_bytes(number(one, "read_bytes_per_s")),
			human_bytes(number(one, "write_bytes_per_s")), number(one, "busy_percent"));
	}
	json_array_foreach(json_object_get(load, "links"), i, one)
	{
		show_line("%-14s%s: %s/s in, %s/s out", i == 0 ? "Links:" : "",
			agent_text(one, "name"), human_bytes(number(one, "rx_bytes_per_s")),
			human_bytes(number(one, "tx_bytes_per_s")));
	}
}

static int show_now(struct cli *cli)
{
	const json_t *memory, *swap, *processes, *cpu;
	json_t *load;
	size_t i;
	int r = agent_call(cli, "system_load.current", NULL, 0, &load);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(load);
	memory = json_object_get(load, "memory");
	swap = json_object_get(load, "swap");
	processes = json_object_get(load, "processes");
	show_line("%-14s%.2f %.2f %.2f", "Load:", number(load, "load1"), number(load, "load5"),
		number(load, "load15"));
	show_line("%-14s%.0f running of %.0f, %.0f blocked",
		"Processes:", number(processes, "running"), number(processes, "total"),
		number(processes, "blocked"));
	json_array_foreach(json_object_get(load, "cpus"), i, cpu)
	{
		show_line("%-14s%.0f: busy %.1f%% since boot", i == 0 ? "CPUs:" : "",
			number(cpu, "index"), busy_percent(cpu));
	}
	show_words("%-14s%s of %s available", "Memory:", human_bytes(number(memory, "available")),
		human_bytes(number(memory, "total")));
	show_line(", %s cached", human_bytes(number(memory, "cached")));
	show_line("%-14s%s of %s free", "Swap:", human_bytes(number(swap, "free")),
		human_bytes(number(swap, "total")));
	print_pressure(load, "cpu_pressure", "CPU wait:");
	print_pressure(load, "memory_pressure", "Memory wait:");
	print_pressure(load, "io_pressure", "I/O wait:");
	print_rates(load);
	json_decref(load);
	return POSTERN_DONE;
}

static int plot_answer(const struct cli *cli, const json_t *answer)
{
	const json_t *points = json_object_get(answer, "points"), *point;
	const char *what = cli_value(cli, "show") ? cli_value(cli, "show") : "load1";
	size_t n = json_array_size(points), i;
	AUTO_FREE double *values = calloc(n + 1, sizeof(*values));

	if (!values)
		return POSTERN_ANSWERED;
	json_array_foreach(points, i, point)
	{
		if (!json_object_get(point, what))
			return cli_usage(cli, "--show %s: no such value; see --json", what);
		values[i] = number(point, what);
	}
	show_line("%s: %zu points of %.0f s, the newest on the right", what, n,
		number(answer, "step_s"));
	plot_print(values, n, stdout);
	return POSTERN_DONE;
}

static int show_history(struct cli *cli)
{
	const char *how = cli_value(cli, "aggregation");
	uint64_t range_ms, step_ms;
	json_t *params, *answer;
	int r;

	if (cli_time(cli, "range", 1000, 7 * DAY_MS, 0, &range_ms) < 0 ||
		cli_time(cli, "step", 1000, 7 * DAY_MS, 0, &step_ms) < 0)
		return POSTERN_USAGE;
	params = json_pack("{s:I, s:I}", "range_s", (json_int_t)(range_ms / 1000), "step_s",
		(json_int_t)(step_ms / 1000));
	if (how)
		(void)json_object_set_new(params, "aggregation", json_string(how));
	r = agent_call(cli, "system_load.historical", params, 0, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	r = plot_answer(cli, answer);
	json_decref(answer);
	return r;
}

static int run(struct cli *cli)
{
	bool history = cli_flag(cli, "history") || cli_value(cli, "range") ||
		       cli_value(cli, "step") || cli_value(cli, "show");

	return history ? show_history(cli) : show_now(cli);
}

const struct command cmd_load = {
	.name = "load",
	.arguments = "VM",
	.summary = "Show how busy the guest is, now or over the last day",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
