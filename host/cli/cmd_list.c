/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/clock_problem.h"
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

static void print_names(const char *label, const json_t *names)
{
	const json_t *name;
	size_t i;

	if (json_array_size(names) == 0)
		return;
	(void)printf("%-20s", label);
	json_array_foreach(names, i, name)(void)
		printf("%s%s", i == 0 ? "" : " ", json_string_value(name));
	(void)putchar('\n');
}

static void print_devices(const json_t *details)
{
	const json_t *shares = json_object_get(details, "shares"), *share;
	const json_t *disks = json_object_get(details, "disks"), *disk;
	size_t i;

	print_names("Active devices:", json_object_get(details, "devices"));
	print_names("Inactive devices:", json_object_get(details, "devices_off"));
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

static void print_problems(const json_t *problems)
{
	size_t i, n = json_array_size(problems);
	const json_t *problem;

	if (n > 0)
		(void)printf("\n%s%zu problem%s detected:%s\n", style(stdout, STYLE_YELLOW), n,
			n == 1 ? "" : "s", style(stdout, STYLE_PLAIN));
	json_array_foreach(problems, i, problem)(void)
		printf("* %s: %s\n", json_field_string(problem, "problem", "?"),
			json_field_string(problem, "help", "?"));
}

/* Not every VMM tells it. */
static void print_plugged(const json_t *details)
{
	json_int_t plugged = json_field_int(details, "plugged_bytes", -1),
		   most = json_field_int(details, "plug_bytes", 0);
	char now[24], size[24];

	if (plugged >= 0)
		(void)printf("%-20s%s of %s\n",
			"Plugged memory:", format_size((uint64_t)plugged, now),
			format_size((uint64_t)most, size));
}

static int print_details(const struct postern_vm *vm, const json_t *details)
{
	uint64_t memory = (uint64_t)json_field_int(details, "memory_bytes", 0);
	const char *reason = postern_vm_reason(vm);
	char uptime[32], size[24];

	(void)printf("%-20s%s\n", "Guest name:", postern_vm_name(vm));
	if (postern_vm_env(vm)[0])
		(void)printf("%-20s%s\n", "Environment:", postern_vm_env(vm));
	(void)printf("%-20s%s\n", "Guest status:", postern_vm_status_name(postern_vm_status(vm)));
	(void)printf(
		"%-20s%s\n\n", "Guest uptime:", format_uptime(postern_vm_uptime_ms(vm), uptime));
	if (reason)
		(void)printf("%-20s%s\n", "Stop reason:", reason);
	(void)printf("%-20s%lld\n", "CPU count:", (long long)json_field_int(details, "cpus", 0));
	(void)printf("%-20s%s (%" PRIu64 " bytes)\n", "Guest memory:", format_size(memory, size),
		memory);
	print_plugged(details);
	(void)printf("%-20s%u\n", "CID:", postern_vm_cid(vm));
	if (json_object_get(details, "accel"))
		(void)printf("%-20s%s\n", "Acceleration:", json_field_string(details, "accel", ""));
	if (json_object_get(details, "kernel"))
		show_line("%-20s%s", "Kernel:", json_field_string(details, "kernel", ""));
	if (json_object_get(details, "agent_version"))
		(void)printf(
			"%-20s%s\n", "Agent:", json_field_string(details, "agent_version", ""));
	print_devices(details);
	print_problems(json_object_get(details, "problems"));
	return POSTERN_DONE;
}

static void add_problem(json_t *details, json_t *problem)
{
	json_t *problems = json_object_get(details, "problems");

	if (problem && json_is_array(problems))
		(void)json_array_append(problems, problem);
	json_decref(problem);
}

static int list_one(struct cli *cli)
{
	AUTO_JSON json_t *details = NULL;
	struct postern_error error = {0};
	struct postern_vm *vm = NULL;
	int r = postern_vm_info(cli->words[0], &vm, &error);

	if (r < 0)
		return cli_fail(cli, &error);
	details = to_json(vm);
	if (postern_vm_status(vm) == POSTERN_VM_RUNNING)
		add_problem(details, clock_problem(cli->words[0]));
	r = cli->json ? cli_json(json_incref(details)) : print_details(vm, details);
	postern_vm_free(vm);
	return r;
}

static json_t *all_to_json(struct postern_vm **vms, size_t n)
{
	json_t *guests = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(guests, to_json(vms[i]));
	return guests;
}

static bool is_over(const struct postern_vm *vm)
{
	enum postern_vm_status status = postern_vm_status(vm);

	return status == POSTERN_VM_STOPPED || status == POSTERN_VM_FAILED ||
	       status == POSTERN_VM_TERMINATED;
}

static void print_env(size_t number, const char *env, struct postern_vm **vms, size_t n)
{
	size_t shown = 0;

	(void)printf("env:%-4zu          %s\n", number, env[0] ? env : "default");
	for (size_t i = 0; i < n; i++)
		if (!is_over(vms[i])) {
			(void)printf(" guest:%-4u       %s\n", postern_vm_cid(vms[i]),
				postern_vm_name(vms[i]));
			shown++;
		}
	if (shown == 0)
		(void)puts(" no guest instances");
}

/* Every environment with what runs there. */
static int list_envs(struct cli *cli)
{
	AUTO_JSON json_t *all = json_array();
	struct postern_error error = {0};
	char **envs = NULL;
	size_t n_envs = 0;
	int r = postern_envs(&envs, &n_envs, &error);

	for (size_t i = 0; r == 0 && i < n_envs; i++) {
		struct postern_vm **vms = NULL;
		size_t n = 0;

		r = postern_list(envs[i], &vms, &n, &error);
		if (r == 0 && cli->json)
			(void)json_array_append_new(all, json_pack("{s:s, s:o}", "env", envs[i],
								 "guests", all_to_json(vms, n)));
		/* The one without a name is there always; it is shown where something is in it. */
		else if (r == 0 && (n > 0 || envs[i][0]))
			print_env(i, envs[i], vms, n);
		if (r == 0 && !cli->json && n_envs == 1 && n == 0)
			(void)puts("no environments");
		postern_vms_free(vms, n);
	}
	postern_envs_free(envs, n_envs);
	if (r < 0)
		return cli_fail(cli, &error);
	return cli->json ? cli_json(json_pack("{s:O}", "environments", all)) : POSTERN_DONE;
}

static int list_cids(struct cli *cli)
{
	static const struct table_head heads[] = {{"CID", TABLE_RIGHT}, {"Guest", TABLE_LEFT},
		{"User", TABLE_LEFT}, {"Lease", TABLE_LEFT}, {0}};
	struct postern_error error = {0};
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *leases = NULL;
	const json_t *lease;
	struct table table;
	size_t i;

	if (postern_leases_json(&text, &error) < 0)
		return cli_fail(cli, &error);
	leases = json_loads(text, 0, NULL);
	if (cli->json)
		return cli_json(json_incref(leases));
	table_init(&table, heads);
	json_array_foreach(json_object_get(leases, "leases"), i, lease)
	{
		const char *user = json_field_string(lease, "user", NULL);

		table_cell(&table, "%lld", (long long)json_field_int(lease, "cid", 0));
		table_cell(&table, "%s", json_field_string(lease, "name", ""));
		if (user)
			table_cell(&table, "%s", user);
		else
			table_cell(&table, "%lld", (long long)json_field_int(lease, "uid", 0));
		table_cell(&table, "%s", json_field_bool(lease, "held", false) ? "held" : "stale");
	}
	table_print(&table, stdout);
	return POSTERN_DONE;
}

static const struct cli_option options[] = {
	{"all-envs", 'a', NULL, "what runs in every environment"},
	{"cids", 'c', NULL, "which CIDs are leased, and whether their machine lives"},
	{0},
};

static int run(struct cli *cli)
{
	bool envs = cli_flag(cli, "all-envs"), cids = cli_flag(cli, "cids");
	struct postern_error error = {0};
	struct postern_vm **vms = NULL;
	size_t n;
	int r;

	if (envs + cids + cli->n_words > 1)
		return cli_usage(cli, "a VM, --all-envs and --cids exclude each other");
	if (envs)
		return list_envs(cli);
	if (cids)
		return list_cids(cli);
	if (cli->n_words > 0)
		return list_one(cli);
	if (postern_list(NULL, &vms, &n, &error) < 0)
		return cli_fail(cli, &error);
	if (cli->json) {
		r = cli_json(json_pack("{s:o}", "guests", all_to_json(vms, n)));
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
	.options = options,
	.run = run,
};
