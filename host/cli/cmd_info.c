/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host/cli/agent.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

static void print_agent(const json_t *agent)
{
	const json_t *process, *processes = json_object_get(agent, "processes");
	const json_t *stuck = json_object_get(agent, "stuck");
	double pss = 0;
	size_t i;

	show_line("%-14s%s, up %.0f s, %d connection(s)", "Agent:", agent_text(agent, "version"),
		(double)json_field_int(agent, "uptime_ms", 0) / 1000,
		(int)json_field_int(agent, "connections", 0));
	json_array_foreach(processes, i, process)
	{
		show_line("%-14s%-8s pid %-6d %9s  %2d descriptors%s", i == 0 ? "Processes:" : "",
			agent_text(process, "role"), (int)json_field_int(process, "pid", 0),
			human_bytes((double)json_field_int(process, "pss_bytes", 0)),
			(int)json_field_int(process, "descriptors", 0),
			json_field_bool(process, "spare", false) ? ", spare" : "");
		pss += (double)json_field_int(process, "pss_bytes", 0);
	}
	show_line("%-14s%s of memory in all, shared pages divided (Pss)", "", human_bytes(pss));
	json_array_foreach(stuck, i, process)
	{
		show_line("%-14spid %d (%s) for %.0f s on device %s", i == 0 ? "Stuck:" : "",
			(int)json_field_int(process, "pid", 0), agent_text(process, "method"),
			(double)json_field_int(process, "age_ms", 0) / 1000,
			agent_text(process, "device"));
	}
}

static int run(struct cli *cli)
{
	json_t *info;
	const json_t *os, *kernel;
	int r = agent_call(cli, "system.info", NULL, 0, &info);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(info);
	os = json_object_get(info, "os");
	kernel = json_object_get(info, "kernel");
	show_line("%-14s%s", "Host name:", agent_text(info, "host_name"));
	show_line("%-14s%s", "System:", agent_text(os, "pretty_name"));
	show_line("%-14s%s %s (%s)", "Kernel:", agent_text(kernel, "name"),
		agent_text(kernel, "release"), agent_text(kernel, "machine"));
	show_line("%-14s%s", "Process 1:", agent_text(info, "init"));
	show_line("%-14s%.0f s", "Up:", (double)json_field_int(info, "uptime_ms", 0) / 1000);
	show_line("%-14s%s", "Boot id:", agent_text(info, "boot_id"));
	show_line("%-14s%s", "We are:", agent_text(info, "identity"));
	print_agent(json_object_get(info, "agent"));
	json_decref(info);
	return POSTERN_DONE;
}

const struct command cmd_info = {
	.name = "info",
	.arguments = "VM",
	.summary = "Show what guest and agent say of themselves",
	.least = 1,
	.most = 1,
	.run = run,
};
