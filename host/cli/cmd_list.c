/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/command.h"
#include "host/cli/show.h"
#include "host/cli/style.h"
#include "host/cli/table.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"

/* HH:MM:SS, into text; hours go on counting. */
static const char *format_uptime(uint64_t ms, char text[32])
{
	uint64_t s = ms / 1000;

	if (ms == UINT64_MAX)
		(void)snprintf(text, 32, "--:--:--");
	else
		(void)snprintf(text, 32, "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600,
			s / 60 % 60, s % 60);
	return text;
}

static json_t *to_json(const struct postern_vm *vm)
{
	AUTO_FREE char *text = postern_vm_json(vm);

	return text ? json_loads(text, 0, NULL) : NULL;
}

static int print_table(struct postern_vm **vms, size_t n)
{
	static const struct table_head heads[] = {{"Guest", TABLE_LEFT}, {"Status", TABLE_LEFT},
		{"Uptime", TABLE_RIGHT}, {"CID", TABLE_RIGHT}, {"Problems", TABLE_LEFT}, {0}};
	struct table table;
	char uptime[32];

	if (n == 0) {
		(void)puts("no guest instances");
		return POSTERN_DONE;
	}
	table_init(&table, heads);
	for (size_t i = 0; i < n; i++) {
		const char *first = postern_vm_problem(vms[i], 0),
			   *reason = postern_vm_reason(vms[i]);
		size_t problems = postern_vm_problems(vms[i]);

		table_cell(&table, "%s", postern_vm_name(vms[i]));
		table_cell(&table, "%s", postern_vm_status_name(postern_vm_status(vms[i])));
		table_cell(&table, "%s", format_uptime(postern_vm_uptime_ms(vms[i]), uptime));
		table_cell(&table, "%u", postern_vm_cid(vms[i]));
		if (problems > 1)
			table_cell(&table, "%s (and %zu more)", first, problems - 1);
		else
			table_cell(&table, "%s", first ? first : reason ? reason : "");
	}
	table_print(&table, stdout);
	return POSTERN_DONE;
}

static void print_devices(const json_t *details)
{
	const json_t *shares = json_object_get(details, "shares"), *share;
	const json_t *disks = json_object_get(details, "disks"), *disk;
	size_t i;

	json_array_foreach(shares, i, share)
	{
		show_line("%-20s%s: %s -> %s%s%s", i == 0 ? "Shares:" : "",
			json_field_string(share, "tag", ""), json_field_string(share, "source", ""),
			json_field_string(share, "target", "?"),
			json_field_bool(share, "read_only", false) ? ", read-only" : "",
			strcmp(json_field_string(share, "state", ""), "dead") == 0 ? ", dead" : "");
	}
	json_array_foreach(disks, i, disk)
	{
		show_line("%-20s%s: %s%s", i == 0 ? "Plugged disks:" : "",
			json_field_string(disk, "id", ""), json_field_string(disk, "path", ""),
			json_field_bool(disk, "read_only", false) ? ", read-only" : "");
	}
}

static int print_details(const struct postern_vm *vm)
{
	AUTO_JSON json_t *details = to_json(vm);
	uint64_t memory = (uint64_t)json_field_int(details, "memory_bytes", 0);
	const char *reason = postern_vm_reason(vm);
	size_t problems = postern_vm_problems(vm);
	char uptime[32], size[24];

	(void)printf("%-20s%s\n", "Guest name:", postern_vm_name(vm));
	(void)printf("%-20s%s\n", "Guest status:", postern_vm_status_name(postern_vm_status(vm)));
	(void)printf(
		"%-20s%s\n\n", "Guest uptime:", format_uptime(postern_vm_uptime_ms(vm), uptime));
	if (reason)
		(void)printf("%-20s%s\n", "Stop reason:", reason);
	(void)printf("%-20s%lld\n", "CPU count:", (long long)json_field_int(details, "cpus", 0));
	(void)printf("%-20s%s (%" PRIu64 " bytes)\n", "Guest memory:", format_size(memory, size),
		memory);
	(void)printf("%-20s%u\n", "CID:", postern_vm_cid(vm));
	if (json_object_get(details, "accel"))
		(void)printf("%-20s%s\n", "Acceleration:", json_field_string(details, "accel", ""));
	if (json_object_get(details, "kernel"))
		show_line("%-20s%s", "Kernel:", json_field_string(details, "kernel", ""));
	if (json_object_get(details, "agent_version"))
		(void)printf(
			"%-20s%s\n", "Agent:", json_field_string(details, "agent_version", ""));
	print_devices(details);
	if (problems > 0)
		(void)printf("\n%s%zu problem%s detected:%s\n", style(stdout, STYLE_YELLOW),
			problems, problems == 1 ? "" : "s", style(stdout, STYLE_PLAIN));
	for (size_t i = 0; i < problems; i++)
		(void)printf("* %s\n", postern_vm_problem(vm, i));
	return POSTERN_DONE;
}

static int list_one(struct cli *cli)
{
	struct postern_error error = {0};
	struct postern_vm *vm = NULL;
	int r = postern_vm_info(cli->words[0], &vm, &error);

	if (r < 0)
		return cli_fail(cli, &error);
	r = cli->json ? cli_json(to_json(vm)) : print_details(vm);
	postern_vm_free(vm);
	return r;
}

static int run(struct cli *cli)
{
	struct postern_error error = {0};
	struct postern_vm **vms = NULL;
	size_t n;
	int r;

	if (cli->n_words > 0)
		return list_one(cli);
	if (postern_list(&vms, &n, &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json) {
		json_t *guests = json_array();

		for (size_t i = 0; i < n; i++)
			(void)json_array_append_new(guests, to_json(vms[i]));
		r = cli_json(json_pack("{s:o}", "guests", guests));
	} else {
		r = print_table(vms, n);
	}
	postern_vms_free(vms, n);
	return r;
}

const struct command cmd_list = {
	.name = "list",
	.arguments = "[VM]",
	.summary = "Show the virtual machines and how they are, or one of them in detail",
	.most = 1,
	.run = run,
};
