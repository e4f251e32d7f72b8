/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/agent.h"
#include "host/common/json_line.h"

static void print_agent(const json_t *agent)
{
	const json_t *process, *processes = json_object_get(agent, "processes");
	const json_t *stuck = json_object_get(agent, "stuck");
	double pss = 0;
	size_t i;

	(void)printf("%-14s%s, up %.0f s, %d connection(s)\n",
		"Agent:", agent_escaped(agent, "version"),
		(double)json_field_int(agent, "uptime_ms", 0) / 1000,
		(int)json_field_int(agent, "connections", 0));
	json_array_foreach(processes, i, process)
	{
		(void)printf("%-14s%-8s pid %-6d %9s  %2d descriptors%s\n",
			i == 0 ? "Processes:" : "", agent_escaped(process, "role"),
			(int)json_field_int(process, "pid", 0),
			human_bytes((double)json_field_int(process, "pss_bytes", 0)),
			(int)json_field_int(process, "descriptors", 0),
			json_field_bool(process, "spare", false) ? ", spare" : "");
		pss += (double)json_field_int(process, "pss_bytes", 0);
	}
	(void)printf(
		"%-14s%s of memory in all, shared pages divided (Pss)\n", "", human_bytes(pss));
	json_array_foreach(stuck, i, process)(void)
		printf("%-14spid %d (%s) for %.0f s on device %s\n", i == 0 ? "Stuck:" : "",
			(int)json_field_int(process, "pid", 0), agent_escaped(process, "method"),
			(double)json_field_int(process, "age_ms", 0) / 1000,
			agent_escaped(process, "device"));
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
	(void)printf("%-14s%s\n", "Host name:", agent_escaped(info, "host_name"));
	(void)printf("%-14s%s\n", "System:", agent_escaped(os, "pretty_name"));
	(void)printf("%-14s%s %s (%s)\n", "Kernel:", agent_escaped(kernel, "name"),
		agent_escaped(kernel, "release"), agent_escaped(kernel, "machine"));
	(void)printf("%-14s%s\n", "Process 1:", agent_escaped(info, "init"));
	(void)printf("%-14s%.0f s\n", "Up:", (double)json_field_int(info, "uptime_ms", 0) / 1000);
	(void)printf("%-14s%s\n", "Boot id:", agent_escaped(info, "boot_id"));
	(void)printf("%-14s%s\n", "We are:", agent_escaped(info, "identity"));
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
